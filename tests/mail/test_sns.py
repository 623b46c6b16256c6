"""The hosts that a message of SNS can make us ask."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from tests.support.mail_events import TOPIC_ARN, Sns
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.errors import EventsUnsigned, EventsUnverified
from wishcraft.mail.events.sns import SnsVerifier

AMAZON = "https://sns.eu-central-1.amazonaws.com"


@pytest.fixture(scope="module")
def sns() -> Sns:
    """A signer; its key takes longer to make than all else here. No test changes it."""
    return Sns()


@pytest.fixture
def asked() -> list[str]:
    """The URLs that were requested."""
    return []


@pytest.fixture
async def verifier(sns: Sns, asked: list[str]) -> Iterator[SnsVerifier]:  # type: ignore[misc]
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=sns.certificate)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        yield SnsVerifier(http, TOPIC_ARN)


@pytest.mark.parametrize(("later", "requests"), [(0, 1), (3_601, 1), (86_401, 2)])
async def test_made_up_certificates_hold_up_no_message_with_a_known_one(
    sns: Sns, monkeypatch: pytest.MonkeyPatch, later: int, requests: int
) -> None:
    now, asked = [1_000.0], list[str]()
    monkeypatch.setattr("wishcraft.mail.events.sns.time.monotonic", lambda: now[0])
    hanging, answered = asyncio.Event(), asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/slow.pem":
            hanging.set()
            await answered.wait()
        return httpx.Response(200, content=sns.certificate if request.url.path == "/true.pem" else b"")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        verifier = SnsVerifier(http, TOPIC_ARN)
        await verifier.verify(signed(sns, f"{AMAZON}/true.pem"))
        for number in range(20):
            with pytest.raises(EventsUnverified):
                await verifier.verify(signed(sns, f"{AMAZON}/{number}.pem"))
        slow = asyncio.create_task(verifier.verify(signed(sns, f"{AMAZON}/slow.pem")))
        await hanging.wait()
        now[0] += later
        if requests > 1:  # the key is too old to be used
            answered.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await verifier.verify(signed(sns, f"{AMAZON}/true.pem"))
        answered.set()
        with pytest.raises(EventsUnverified):
            await slow
    assert asked.count("/true.pem") == requests


async def test_known_certificate_is_used_for_a_day_while_sns_does_not_answer(
    sns: Sns, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, now = [200, 503, 503, 503, 503], [1_000.0]
    monkeypatch.setattr("wishcraft.mail.events.sns.time.monotonic", lambda: now[0])

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(answers.pop(0), content=sns.certificate)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        verifier = SnsVerifier(http, TOPIC_ARN)
        for later in (0, 3_601, 31, 3_601):
            now[0] += later
            await verifier.verify(signed(sns, f"{AMAZON}/true.pem"))
        now[0] += 86_400
        with pytest.raises(EventsUnverified):
            await verifier.verify(signed(sns, f"{AMAZON}/true.pem"))
    assert not answers


async def test_signature_that_is_no_base64_is_refused(verifier: SnsVerifier, sns: Sns) -> None:
    for signature in ("!", "\u00e9", "\x00", "YQ"):
        message = sns.message("{}", SigningCertURL=f"{AMAZON}/a.pem", Signature=signature)
        with pytest.raises(EventsUnsigned):
            await verifier.verify(httpx.Request("POST", "http://x", json=message).content)


def signed(sns: Sns, url: str) -> bytes:
    return httpx.Request("POST", "http://x", json=sns.message("{}", SigningCertURL=url)).content


@pytest.mark.parametrize(
    "origin",
    [
        AMAZON,
        "https://sns.us-gov-west-1.amazonaws.com",
        "https://sns.cn-north-1.amazonaws.com.cn",
        "https://sns.eusc-de-east-1.amazonaws.eu",
    ],
)
async def test_certificates_come_from_hosts_of_sns(
    verifier: SnsVerifier, sns: Sns, asked: list[str], origin: str
) -> None:
    url = f"{origin}/SimpleNotificationService-9c6465fa7f48f5cacd23014631ec1136.pem"
    for _ in range(2):
        assert (await verifier.verify(signed(sns, url)))["SigningCertURL"] == url
    assert asked == [url]


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com.evil.example/a.pem",
        "https://sns.eu-central-1.amazonaws.com.cn.evil.example/a.pem",
        "https://sns.eu-central-1.amazonaws.com.cn/a.pem",
        "https://sns.eusc-de-east-1.amazonaws.com/a.pem",
        "https://sns.evil.amazonaws.eu/a.pem",
        "https://sns.eu-central-1.amazonaws.com@evil.example/a.pem",
        "https://sns.eu-central-1.amazonaws.com:443@evil.example/a.pem",
        "https://evil.example#sns.eu-central-1.amazonaws.com/a.pem",
        "https://evil.example\\@sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.com\\@evil.example/a.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/a.pem",
        "https://user@sns.eu-central-1.amazonaws.com/a.pem",
        "https://xsns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.amazonaws.com/a.pem",
        "https://s3.eu-central-1.amazonaws.com/a.pem",
        "https://bucket.sns.eu-central-1.amazonaws.com/a.pem",
        "https://sns.eu-central-1.amazonaws.co\u043c/a.pem",
        "https://127.0.0.1/a.pem",
        "https://[::1]/a.pem",
        "https://169.254.169.254/latest/meta-data/a.pem",
        "file:///etc/a.pem",
        "//sns.eu-central-1.amazonaws.com/a.pem",
        f"{AMAZON}/../../a.pem",
        f"{AMAZON}//evil.example/a.pem",
        f"{AMAZON}/a.pem?x=https://evil.example",
        f"{AMAZON}/a.pem#x",
        f"{AMAZON}/a.PEM",
        f"{AMAZON}/a%2epem",
        f"{AMAZON}/a.pem\n",
        f" {AMAZON}/a.pem",
        "",
    ],
)
async def test_no_other_url_is_requested(verifier: SnsVerifier, sns: Sns, asked: list[str], url: str) -> None:
    with pytest.raises(EventsUnsigned):
        await verifier.verify(signed(sns, url))
    message = {"SubscribeURL": url}
    if not url.startswith(AMAZON):
        with pytest.raises(EventsUnsigned):
            await verifier.confirm(message)
    assert asked == []
