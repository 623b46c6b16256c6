"""The simulated Amazon SES and SendGrid: what they refuse, and the signed events that they send."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_pem_x509_certificate
from fastapi import FastAPI, Request, Response

from deployments.sandbox.mail_providers import ACCESS_KEY, API_KEY, SECRET_KEY, ses_events
from deployments.sandbox.mail_providers.events import SIGNATURE_HEADER, TIMESTAMP_HEADER, make_sns_key
from deployments.sandbox.mailbox.app import create_app
from tests.support.http_server import served
from tests.support.waiting import block_until

TO, FROM = "emma@example.com", "registry@wishcraft.example"


class Received(NamedTuple):
    """A webhook."""

    path: str
    headers: dict[str, str]
    body: bytes


class Sandbox(NamedTuple):
    """A server with both providers, and what their events' receiver got."""

    client: httpx.Client
    received: list[Received]


@pytest.fixture(scope="module")
def keys() -> list[tuple[rsa.RSAPrivateKey, bytes]]:
    """The key of the simulated SNS and one that forges: new ones for each test would take most of its time."""
    return [make_sns_key(), make_sns_key()]


@pytest.fixture
def sandbox(keys: list[tuple[rsa.RSAPrivateKey, bytes]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr(ses_events, "make_sns_key", iter(keys).__next__)
    received: list[Received] = []
    receiver = FastAPI()

    @receiver.post("/events/{provider}")
    async def receive(provider: str, request: Request) -> Response:
        received.append(Received(provider, dict(request.headers), await request.body()))
        return Response(status_code=204)

    with (
        served(receiver) as target,
        served(create_app(events_url=f"{target}/events")) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield Sandbox(client, received)


def raw_message(sender: str = FROM) -> str:
    return b64encode(f"From: Shop <{sender}>\r\nTo: {TO}\r\nSubject: Hello\r\n\r\nHello\r\n".encode()).decode()


def ses_email(**changes: Any) -> dict[str, Any]:
    return {
        "FromEmailAddress": FROM,
        "Destination": {"ToAddresses": [TO]},
        "Content": {"Raw": {"Data": raw_message()}},
        "ConfigurationSetName": "wishcraft",
        "EmailTags": [{"Name": "wishcraft", "Value": "r-1-2-abc"}],
    } | changes


def post_ses(sandbox: Sandbox, email: dict[str, Any], *, tampered: bool = False) -> httpx.Response:
    body = json.dumps(email).encode()
    url = str(sandbox.client.base_url.join("/ses/v2/email/outbound-emails"))
    request = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=body)
    SigV4Auth(ReadOnlyCredentials(ACCESS_KEY, SECRET_KEY, None), "ses", "eu-central-1").add_auth(request)
    sent = body + b" " if tampered else body
    return sandbox.client.post(url, content=sent, headers=dict(request.headers.items()))


def sendgrid_mail(**changes: Any) -> dict[str, Any]:
    return {
        "personalizations": [{"to": [{"email": TO}], "custom_args": {"wishcraft": "r-1-2-abc"}}],
        "from": {"email": FROM, "name": "Shop"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "Hello"}, {"type": "text/html", "value": "<p>Hello</p>"}],
    } | changes


def post_sendgrid(sandbox: Sandbox, mail: dict[str, Any]) -> httpx.Response:
    return sandbox.client.post("/sendgrid/v3/mail/send", json=mail, headers={"Authorization": f"Bearer {API_KEY}"})


def set_fault(sandbox: Sandbox, provider: str, kind: str) -> None:
    sandbox.client.put(f"/{provider}/faults", json={"kind": kind, "remaining": 1}).raise_for_status()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"EmailTags": [{"Name": "wishcraft", "Value": "a b"}]}, "BadRequestException"),
        ({"ConfigurationSet": "wishcraft"}, "BadRequestException"),
        ({"ConfigurationSetName": "other"}, "NotFoundException"),
        ({"Destination": {"ToAddresses": ["emma"]}}, "BadRequestException"),
        ({"Destination": {"ToAddresses": ["zoë@example.com"]}}, "BadRequestException"),
        ({"FromEmailAddress": "a@other.example"}, "MessageRejected"),
        ({"Content": {"Raw": {"Data": raw_message("a@other.example")}}}, "MessageRejected"),
        ({"Content": {"Raw": {"Data": "*"}}}, "SerializationException"),
    ],
)
def test_simulated_ses_refuses_what_ses_refuses(sandbox: Sandbox, changes: dict[str, Any], code: str) -> None:
    response = post_ses(sandbox, ses_email(**changes))
    assert response.status_code in {400, 404}
    assert (response.json()["__type"], response.headers["x-amzn-errortype"]) == (code, f"{code}:")
    assert sandbox.client.get("/messages").json() == []


def test_simulated_ses_refuses_a_request_that_its_signature_does_not_cover(sandbox: Sandbox) -> None:
    response = post_ses(sandbox, ses_email(), tampered=True)
    assert (response.status_code, response.json()["__type"]) == (403, "InvalidSignatureException")
    response = sandbox.client.post("/ses/v2/email/outbound-emails", json=ses_email())
    assert (response.status_code, response.json()["__type"]) == (403, "MissingAuthenticationTokenException")


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"unknown": 1}, 400, "unknown"),
        ({"subject": ""}, 400, "subject"),
        ({"content": sendgrid_mail()["content"][::-1]}, 400, "content"),
        ({"headers": {"Reply-To": "a@b.example"}}, 400, "headers"),
        ({"personalizations": [{"to": [{"email": "emma"}]}]}, 400, "personalizations.0.to.0.email"),
        ({"personalizations": [{"to": [{"email": TO}, {"email": FROM}]}]}, 400, "personalizations.0.to"),
        ({"from": {"email": "a@other.example"}}, 403, "from"),
    ],
)
def test_simulated_sendgrid_refuses_what_sendgrid_refuses(
    sandbox: Sandbox, changes: dict[str, Any], status: int, field: str
) -> None:
    response = post_sendgrid(sandbox, sendgrid_mail(**changes))
    assert (response.status_code, response.json()["errors"][0]["field"]) == (status, field)
    assert sandbox.client.get("/messages").json() == []


def verify_sns(sandbox: Sandbox, envelope: dict[str, str], names: tuple[str, ...]) -> None:
    """Raise InvalidSignature unless SNS has signed these fields of the envelope."""
    certificate = load_pem_x509_certificate(sandbox.client.get(envelope["SigningCertURL"]).content)
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names)
    key.verify(b64decode(envelope["Signature"]), text.encode(), padding.PKCS1v15(), SHA256())


NOTIFICATION = ("Message", "MessageId", "Timestamp", "TopicArn", "Type")


def notifications(sandbox: Sandbox, number: int) -> list[dict[str, str]]:
    """The notifications after the confirmation of the subscription."""
    block_until(lambda: sandbox.received, "no subscription")
    confirmation = json.loads(sandbox.received[0].body)
    names = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    verify_sns(sandbox, confirmation, names)
    assert sandbox.received[0].headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    sandbox.client.get(confirmation["SubscribeURL"]).raise_for_status()

    def found() -> list[dict[str, str]]:
        envelopes = [json.loads(each.body) for each in sandbox.received]
        return [each for each in envelopes if each["Type"] == "Notification"]

    block_until(lambda: len(found()) >= number, "too few events")
    return found()


def test_events_of_ses_are_signed_and_repeat_the_tags(sandbox: Sandbox) -> None:
    set_fault(sandbox, "ses", "bounce")
    message_id = post_ses(sandbox, ses_email()).json()["MessageId"]
    envelopes = notifications(sandbox, 2)
    for envelope in envelopes:
        assert envelope["SignatureVersion"] == "2"
        verify_sns(sandbox, envelope, NOTIFICATION)
    events = [json.loads(envelope["Message"]) for envelope in envelopes]
    assert [event["eventType"] for event in events] == ["Send", "Bounce"]
    assert events[1]["mail"]["tags"]["wishcraft"] == ["r-1-2-abc"]
    assert events[1]["mail"]["messageId"] == message_id
    bounce = events[1]["bounce"]
    assert (bounce["bounceType"], bounce["bouncedRecipients"][0]["status"]) == ("Permanent", "5.1.1")


def test_no_event_comes_of_a_mail_without_a_configuration_set(sandbox: Sandbox) -> None:
    post_ses(sandbox, ses_email(ConfigurationSetName=None)).raise_for_status()
    post_ses(sandbox, ses_email()).raise_for_status()
    assert len(notifications(sandbox, 2)) == 2


def test_ses_sends_the_same_event_twice_and_a_forged_one_on_demand(sandbox: Sandbox) -> None:
    for kind in ("duplicate", "reorder", "complain", "forge"):
        set_fault(sandbox, "ses", kind)
    post_ses(sandbox, ses_email()).raise_for_status()
    forged, *genuine = notifications(sandbox, 7)
    with pytest.raises(InvalidSignature):
        verify_sns(sandbox, forged, NOTIFICATION)
    types = [json.loads(envelope["Message"])["eventType"] for envelope in genuine]
    assert types == ["Complaint", "Complaint", "Delivery", "Delivery", "Send", "Send"]
    assert len({envelope["MessageId"] for envelope in genuine}) == 3


def verify_sendgrid(sandbox: Sandbox, webhook: Received) -> None:
    """Raise InvalidSignature unless SendGrid has signed the webhook."""
    text = sandbox.client.get("/sendgrid/v3/user/webhooks/event/settings/signed").json()["public_key"]
    key = load_der_public_key(b64decode(text))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = b64decode(webhook.headers[SIGNATURE_HEADER.lower()])
    key.verify(signature, webhook.headers[TIMESTAMP_HEADER.lower()].encode() + webhook.body, ec.ECDSA(SHA256()))


def test_events_of_sendgrid_are_signed_and_repeat_the_custom_arguments(sandbox: Sandbox) -> None:
    for kind in ("soft_bounce", "duplicate", "forge"):
        set_fault(sandbox, "sendgrid", kind)
    message_id = post_sendgrid(sandbox, sendgrid_mail()).headers["X-Message-Id"]
    block_until(lambda: len(sandbox.received) == 3, "too few events")
    forged, processed, bounced = sandbox.received
    with pytest.raises(InvalidSignature):
        verify_sendgrid(sandbox, forged)
    for webhook in (processed, bounced):
        verify_sendgrid(sandbox, webhook)
    one, other = json.loads(bounced.body)
    assert one == other
    assert (one["event"], one["type"], one["wishcraft"]) == ("bounce", "blocked", "r-1-2-abc")
    assert one["sg_message_id"].startswith(message_id)
