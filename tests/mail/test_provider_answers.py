"""Requests of the HTTP providers, and their handling of each answer: a server gives prepared ones."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import pytest
from botocore.exceptions import CredentialRetrievalError
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr

from tests.support.http_server import served
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.errors import (
    AddressRefused,
    ConfigurationError,
    MailAcceptanceUnknown,
    MailRefused,
    MailUnavailable,
    OwnSenderRefused,
    SenderRefused,
    in_words,
)
from wishcraft.mail.mailer import InlineImage, Mail, Mailer
from wishcraft.mail.providers import http_api
from wishcraft.mail.providers.sendgrid import SendGridMailer
from wishcraft.mail.providers.ses import SesMailer
from wishcraft.urls.mail import parse_sendgrid, parse_ses

SENDER = "registry@wishcraft.example"
EMMA = "emma@example.com"
MAIL = Mail(
    recipient=EMMA,
    sender_name="Maple & Pine",
    subject="Hello",
    text="Hello",
    html="<p>Hello</p>",
    message_id="<one@maple-and-pine.myshopify.com>",
    inline_images=[InlineImage("gift", b"png")],
    reference="r-1f-2a-abcdefghijklmnop",
)


class Answering(NamedTuple):
    """A server: its address, the answers that it has left, and the requests that it got."""

    address: str
    answers: list[Response]
    requests: list[tuple[Request, bytes]]


@pytest.fixture
def server() -> Iterator[Answering]:
    answers: list[Response] = []
    requests: list[tuple[Request, bytes]] = []
    app = FastAPI()

    @app.post("/v2/email/outbound-emails")
    @app.post("/v3/mail/send")
    async def answer(request: Request) -> Response:
        requests.append((request, await request.body()))
        return answers.pop(0)

    with served(app) as address:
        yield Answering(address, answers, requests)


def ses(server: Answering, login: str = "AKIA:hush@") -> Mailer:
    url = f"ses://{login}eu-central-1?configuration_set=mail&endpoint={server.address}"
    return SesMailer(parse_ses(SecretStr(url)), SENDER, httpx.Timeout(PATIENCE_SECONDS))


def sendgrid(server: Answering) -> Mailer:
    account = parse_sendgrid(SecretStr(f"sendgrid://SG.hush@?endpoint={server.address}"))
    return SendGridMailer(account, SENDER, httpx.Timeout(PATIENCE_SECONDS))


def ses_error(status: int, code: str, message: str = "") -> Response:
    return Response(json.dumps({"message": message}), status, headers={"x-amzn-errortype": f"{code}:http://x/"})


def sendgrid_error(status: int, field: str | None = None) -> Response:
    return Response(json.dumps({"errors": [{"message": f"about {EMMA}", "field": field, "help": None}]}), status)


@pytest.mark.parametrize(
    ("answer", "error", "shown"),
    [
        (ses_error(400, "MessageRejected", f"Email address is not verified: {EMMA}"), SenderRefused, "400 MessageR"),
        (ses_error(400, "MessageRejected", "The message has a virus"), MailRefused, "400 MessageRejected"),
        (ses_error(400, "MailFromDomainNotVerifiedException"), SenderRefused, "400 MailFrom"),
        (ses_error(400, "AccountSuspendedException"), SenderRefused, "AccountSuspended"),
        (ses_error(400, "SendingPausedException"), MailUnavailable, "SendingPaused"),
        (ses_error(400, "LimitExceededException"), MailUnavailable, "LimitExceeded"),
        (ses_error(429, "TooManyRequestsException", "Daily message quota exceeded."), MailUnavailable, "429 TooMany"),
        (Response("", 408), MailUnavailable, "408"),
        (Response("<html>", 429), MailUnavailable, "429"),
        (Response("<html>", 404), SenderRefused, "404"),
        (ses_error(400, "RequestExpired"), SenderRefused, "400 RequestExpired"),
        (ses_error(400, "AccessDeniedException"), SenderRefused, "400 AccessDenied"),
        (ses_error(404, "NotFoundException"), SenderRefused, "404 NotFound"),
        (ses_error(403, "AccessDeniedException", f"for {EMMA}"), SenderRefused, "403 AccessDenied"),
        (ses_error(400, "BadRequestException", "Missing final '@domain'"), AddressRefused, "400 BadRequest"),
        (ses_error(400, "BadRequestException", "Header is too long"), MailRefused, "400 BadRequest"),
        (Response('{"__type": "com.amazon#MessageRejected"}', 400), MailRefused, "400 MessageRejected"),
        (Response(f"<p>{EMMA}</p>", 413), MailRefused, "413"),
        (Response(status_code=302, headers={"location": "https://other.example"}), SenderRefused, "302"),
        (ses_error(500, "InternalFailure"), MailAcceptanceUnknown, "500"),
        (Response("gateway", 504), MailAcceptanceUnknown, "504"),
        (ses_error(503, "ServiceUnavailable"), MailUnavailable, "503"),
    ],
)
async def test_each_answer_of_ses_has_its_error(
    server: Answering, answer: Response, error: type[Exception], shown: str
) -> None:
    await expect_error(ses(server), server, answer, error, shown)


@pytest.mark.parametrize(
    ("answer", "error", "shown"),
    [
        (sendgrid_error(400, "personalizations.0.to.0.email"), AddressRefused, "400 personalizations.0.to.0.email"),
        (sendgrid_error(400, "from.email"), SenderRefused, "400 from.email"),
        (sendgrid_error(400, "content"), MailRefused, "400 content"),
        (sendgrid_error(400, EMMA), MailRefused, "400"),
        (sendgrid_error(401), SenderRefused, "401"),
        (sendgrid_error(403, "from"), SenderRefused, "403 from"),
        (sendgrid_error(404), SenderRefused, "404"),
        (sendgrid_error(408), MailUnavailable, "408"),
        (sendgrid_error(413), MailRefused, "413"),
        (Response("[]", 400), MailRefused, "400"),
        (sendgrid_error(500), MailAcceptanceUnknown, "500"),
        (sendgrid_error(503), MailUnavailable, "503"),
    ],
)
async def test_each_answer_of_sendgrid_has_its_error(
    server: Answering, answer: Response, error: type[Exception], shown: str
) -> None:
    await expect_error(sendgrid(server), server, answer, error, shown)


@pytest.mark.parametrize(
    ("make", "answer", "error"),
    [
        (ses, ses_error(400, "MessageRejected", "Email address is not verified. gifts@maple"), OwnSenderRefused),
        (ses, ses_error(400, "MailFromDomainNotVerifiedException"), OwnSenderRefused),
        (ses, ses_error(403, "AccessDeniedException", "not authorized on identity/maple.example"), OwnSenderRefused),
        (ses, ses_error(403, "UnrecognizedClientException"), SenderRefused),
        (ses, ses_error(400, "AccountSuspendedException"), SenderRefused),
        (ses, ses_error(404, "NotFoundException"), SenderRefused),
        (sendgrid, sendgrid_error(403, "from"), OwnSenderRefused),
        (sendgrid, sendgrid_error(400, "from.email"), OwnSenderRefused),
        (sendgrid, sendgrid_error(401), SenderRefused),
        (sendgrid, sendgrid_error(403), SenderRefused),
    ],
)
async def test_answers_about_the_key_are_not_about_a_shops_own_sender(
    server: Answering, make: Callable[[Answering], Mailer], answer: Response, error: type[Exception]
) -> None:
    own = replace(MAIL, sender="gifts@maple.example")
    await expect_error(make(server), server, answer, error, str(answer.status_code), own)


async def expect_error(
    mailer: Mailer, server: Answering, answer: Response, error: type[Exception], shown: str, mail: Mail = MAIL
) -> None:
    """The mail has this error, whose text shows neither the address nor the key, after one request."""
    server.answers.append(answer)
    with pytest.raises(error) as caught:
        await mailer.send(mail)
    await mailer.close()
    assert caught.type is error
    assert shown in str(caught.value)
    assert not {"emma", "hush"} & set(str(caught.value).replace("@", " ").split())
    assert len(server.requests) == 1


@pytest.mark.parametrize("headers", [{"Retry-After": "0"}, {"X-RateLimit-Reset": "1"}])
async def test_a_throttled_mail_is_sent_again_when_the_provider_says(
    server: Answering, headers: dict[str, str]
) -> None:
    server.answers.extend([Response(status_code=429, headers=headers), Response(status_code=202)])
    mailer = sendgrid(server)
    await mailer.send(MAIL)
    await mailer.close()
    assert len(server.requests) == 2


async def test_a_provider_whose_clock_is_slow_is_not_asked_again_at_once(
    server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers.extend([Response(status_code=429, headers={"X-RateLimit-Reset": "1"}), Response(status_code=202)])
    mailer, pauses = sendgrid(server), list[float]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(http_api, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(http_api, "time", SimpleNamespace(monotonic=lambda: sum(pauses), time=time.time))
    await mailer.send(MAIL)
    await mailer.close()
    assert pauses
    assert pauses[0] > 0.1


async def test_a_mail_that_pauses_waits_as_long_as_a_later_answer_says(
    server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [Response(status_code=429, headers={"Retry-After": seconds}) for seconds in ("1", "20")]
    server.answers.extend([*answers, Response(status_code=202)])
    mailer, pauses, clock = sendgrid(server), list[float](), [0.0]

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        match len(pauses):
            case 1:  # meanwhile another mail is throttled for longer
                with suppress(InterruptedError):
                    await mailer.send(MAIL)
            case 3:
                raise InterruptedError
            case _:
                clock[0] += seconds

    monkeypatch.setattr(http_api, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(http_api, "time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time))
    await mailer.send(MAIL)
    await mailer.close()
    assert (pauses, server.answers) == ([1, 1, 20, 20], [])


@pytest.mark.parametrize("headers", [{"Retry-After": "3600"}, {"X-RateLimit-Reset": "9999999999"}])
async def test_a_long_pause_is_left_to_the_next_run(server: Answering, headers: dict[str, str]) -> None:
    server.answers.extend([Response(status_code=429, headers=headers)])
    mailer = sendgrid(server)
    with pytest.raises(MailUnavailable, match=r"throttles for \d+ s"):
        await mailer.send(MAIL)
    await mailer.close()
    assert len(server.requests) == 1


async def test_a_provider_that_throttles_each_try_is_unavailable(server: Answering) -> None:
    server.answers.extend([Response(status_code=429, headers={"Retry-After": "0"}) for _ in range(6)])
    mailer = sendgrid(server)
    with pytest.raises(MailUnavailable, match="429 to each of 6 tries"):
        await mailer.send(MAIL)
    await mailer.close()
    assert not server.answers


async def test_a_mail_to_sendgrid_has_its_reference_and_no_tracking(server: Answering) -> None:
    server.answers.append(Response(status_code=202))
    mailer = sendgrid(server)
    await mailer.send(MAIL)
    await mailer.close()
    [(request, body)] = server.requests
    sent: dict[str, Any] = json.loads(body)
    assert request.headers["authorization"] == "Bearer SG.hush"
    assert sent["personalizations"] == [{"to": [{"email": EMMA}], "custom_args": {"wishcraft": MAIL.reference}}]
    assert sent["categories"] == ["wishcraft"]
    assert not any(each["enable"] for each in sent["tracking_settings"].values())
    assert [(each["disposition"], each["content_id"]) for each in sent["attachments"]] == [("inline", "gift")]


async def test_a_mail_to_ses_has_its_reference_as_a_tag(server: Answering) -> None:
    server.answers.append(Response('{"MessageId": "1"}'))
    mailer = ses(server)
    await mailer.send(MAIL)
    await mailer.close()
    [(request, body)] = server.requests
    sent: dict[str, Any] = json.loads(body)
    assert sent["EmailTags"] == [{"Name": "wishcraft", "Value": MAIL.reference}]
    assert (sent["FromEmailAddress"], sent["ConfigurationSetName"]) == (SENDER, "mail")
    assert "Credential=AKIA/" in request.headers["authorization"]


async def test_ses_without_a_key_uses_the_credentials_of_the_environment(
    server: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ACCESS_KEY_ID": "AKIB", "SECRET_ACCESS_KEY": "hush", "SESSION_TOKEN": "session"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server.answers.append(Response('{"MessageId": "1"}'))
    mailer = ses(server, login="")
    await mailer.send(MAIL)
    await mailer.close()
    [(request, _)] = server.requests
    assert "Credential=AKIB/" in request.headers["authorization"]
    assert request.headers["x-amz-security-token"] == "session"


async def test_ses_without_any_credentials_says_which_setting_lacks_them(
    server: Answering, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    mailer = ses(server, login="")
    with pytest.raises(ConfigurationError, match="MAIL_URL has no access key"):
        await mailer.send(MAIL)
    await mailer.close()
    assert not server.requests


@pytest.mark.parametrize(
    "error", [CredentialRetrievalError(provider="iam-role", error_msg="no answer"), RuntimeError()]
)
async def test_ses_whose_credentials_cannot_be_renewed_is_unavailable_for_now(
    server: Answering, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def renew() -> None:
        raise error

    credentials = SimpleNamespace(get_frozen_credentials=renew)
    monkeypatch.setattr("wishcraft.mail.providers.ses._find_credentials", lambda: credentials)
    mailer = ses(server, login="")
    with pytest.raises(MailUnavailable, match=f"AWS's credentials cannot be renewed: {in_words(error)}"):
        await mailer.send(MAIL)
    await mailer.close()
    assert server.requests == []
