"""Events of mail providers: only signed ones count, each once, and only for the mail that they name."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from deployments.sandbox.demo import add_key
from tests.support.aliases import Demo
from tests.support.api import open_api_client
from tests.support.mail_events import TOPIC_ARN, SendGrid, Sns, sendgrid_event, ses_event
from tests.support.outages import postgresql_unavailable
from wishcraft.domain.addresses import address_hash
from wishcraft.domain.mail_references import MailKind, MailReference, make_token
from wishcraft.observability.metrics import PROCESS
from wishcraft.resources import Resources
from wishcraft.services.mail.references import reference_keys
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import Settings

MAPLE = "maple-and-pine.myshopify.com"
SES, SENDGRID = "/api/mail-events/ses", "/api/mail-events/sendgrid"
PERMANENT = {"bounceType": "Permanent", "bounceSubType": "NoEmail", "bouncedRecipients": []}


@pytest.fixture(scope="module")
def sns() -> Iterator[Sns]:
    sns = Sns()
    with sns.serve():
        yield sns


@pytest.fixture(scope="module")
def sendgrid() -> SendGrid:
    return SendGrid()


@pytest.fixture
def settings(settings: Settings, sns: Sns, sendgrid: SendGrid) -> Settings:
    return settings.model_copy(
        update={
            "ses_topic_arns": f"arn:aws:sns:eu-central-1:1:other, {TOPIC_ARN}",
            "sns_origin": sns.origin,
            "sendgrid_webhook_key": sendgrid.key,
        }
    )


@pytest.fixture(autouse=True)
def _no_webhooks(demo: Demo) -> None:
    demo.execute("TRUNCATE webhook_events; DELETE FROM email_suppressions")


@pytest.fixture
def reminder(demo: Demo) -> MailReference:
    """A reminder that was sent."""
    [[row_id, shop_id]] = demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, claimed_at)
           SELECT shop_id, id, '7_days', '2026-12-24', 'jo@example.com', 'sent', now() FROM registries
           WHERE shop_id = 1 ORDER BY id LIMIT 1 RETURNING id, shop_id"""
    ).fetchall()
    return MailReference(MailKind.REMINDER, shop_id, row_id)


@pytest.fixture
def token(settings: Settings, reminder: MailReference) -> str:
    return make_token(reminder, reference_keys(settings)[0])


async def post_ses(client: httpx.AsyncClient, message: dict[str, str]) -> httpx.Response:
    return await client.post(SES, content=json.dumps(message), headers={"Content-Type": "text/plain"})


async def post_sendgrid(client: httpx.AsyncClient, sendgrid: SendGrid, *events: dict[str, Any]) -> httpx.Response:
    body = json.dumps(events).encode()
    return await client.post(SENDGRID, content=body, headers=sendgrid.headers(body))


def inbox(demo: Demo) -> list[int]:
    return [row_id for (row_id,) in demo.execute("SELECT id FROM webhook_events ORDER BY id")]


def suppressions(demo: Demo) -> list[tuple[Any, ...]]:
    return demo.execute("SELECT shop_id, reason FROM email_suppressions ORDER BY 1").fetchall()


def counted(provider: str, result: str) -> float:
    return PROCESS.get_sample_value("wishcraft_mail_events_total", {"provider": provider, "result": result}) or 0


@pytest.mark.parametrize("provider", ["ses", "sendgrid"])
async def test_hard_bounce_suppresses_the_address_once_it_is_handled(
    provider: str, client: httpx.AsyncClient, resources: Resources, sns: Sns, sendgrid: SendGrid, token: str, demo: Demo
) -> None:
    if provider == "ses":
        answer = await post_ses(client, sns.message(ses_event("Bounce", token, **PERMANENT)))
    else:
        answer = await post_sendgrid(client, sendgrid, sendgrid_event("bounce", token, type="bounce", status="5.1.1"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert suppressions(demo) == []
    assert await process(resources, HANDLERS, MAPLE, inbox(demo)) == {"applied": 1}
    assert suppressions(demo) == [(1, "bounce")]
    [[outcome]] = demo.execute("SELECT outcome FROM reminders WHERE recipient = 'jo@example.com'").fetchall()
    assert outcome == "bounced"
    [[payload]] = demo.execute("SELECT payload FROM webhook_events").fetchall()
    assert b"@" not in payload


async def test_repeated_events_are_stored_once(
    client: httpx.AsyncClient, sns: Sns, sendgrid: SendGrid, token: str, demo: Demo
) -> None:
    message = sns.message(ses_event("Delivery", token))
    events = [sendgrid_event("delivered", token), sendgrid_event("deferred", token)]
    before = counted("sendgrid", "repeated")
    for _ in range(2):
        assert (await post_ses(client, message)).status_code == 200
        assert (await post_sendgrid(client, sendgrid, *events, *reversed(events))).status_code == 200
    assert len(inbox(demo)) == 3
    assert counted("sendgrid", "repeated") - before == 6


async def test_events_without_a_reference_of_ours_are_ignored(
    client: httpx.AsyncClient, sns: Sns, sendgrid: SendGrid, reminder: MailReference, demo: Demo
) -> None:
    forged = make_token(reminder, b"another key")
    foreign = ses_event("Bounce", forged, **PERMANENT)
    untagged = ses_event("Bounce", forged, **PERMANENT) | {"mail": {"messageId": "0100"}}
    for text in (foreign, untagged, ses_event("Open", forged), "Successfully validated SNS topic.", "[]"[:0] + "{}"):
        assert (await post_ses(client, sns.message(text))).status_code == 200, text
    nameless = sendgrid_event("bounce", forged)
    del nameless["wishcraft"]
    assert (await post_sendgrid(client, sendgrid, nameless, sendgrid_event("bounce", forged))).status_code == 200
    assert inbox(demo) == []


@pytest.mark.parametrize(
    ("changed", "detail"),
    [
        ({"TopicArn": "arn:aws:sns:eu-central-1:666:mail"}, "The topic is not one of SES_TOPIC_ARNS."),
        (
            {"SignatureVersion": "1"},
            "Only signatures of version 2 are accepted: set SignatureVersion of the topic to 2.",
        ),
        ({"Timestamp": "2020-01-01T00:00:00.000Z"}, "The message is too old."),
        ({"Timestamp": "now"}, "The message has no time."),
        ({"Timestamp": "2026-11-29T07:00:00"}, "The message has no time."),
        ({"MessageId": None}, "The message is incomplete."),
        (
            {"SigningCertURL": "https://sns.eu-central-1.amazonaws.com/a.pem"},
            "The message names a host that is not SNS's.",
        ),
        ({"SigningCertURL": "{origin}/certificate.txt"}, "SigningCertURL is not the URL of a certificate."),
        ({"SigningCertURL": "{origin}/certificate.pem?x=1"}, "SigningCertURL is not the URL of a certificate."),
    ],
)
async def test_message_that_sns_has_not_signed_for_a_topic_of_ours_is_refused(
    client: httpx.AsyncClient, sns: Sns, token: str, demo: Demo, changed: dict[str, str | None], detail: str
) -> None:
    changed = {name: value and value.replace("{origin}", sns.origin) for name, value in changed.items()}
    answer = await post_ses(client, sns.message(ses_event("Complaint", token), **changed))
    assert answer.status_code == 401
    assert answer.json()["detail"].startswith(detail)
    assert inbox(demo) == []


async def test_message_that_was_changed_after_its_signature_is_refused(
    client: httpx.AsyncClient, sns: Sns, token: str, demo: Demo
) -> None:
    message = sns.message(ses_event("Delivery", token))
    other = sns.message(ses_event("Bounce", token, **PERMANENT))
    for changed in (
        {"Message": other["Message"]}, {"MessageId": "1"}, {"Subject": "x"}, {"Signature": other["Signature"]},
        {"Signature": "!"}, {"Signature": ""}, {"Type": "Other"},
    ):  # fmt: skip
        assert (await post_ses(client, message | changed)).status_code == 401, changed
    for body in (b"", b"{", b"[]", b"null", b'{"Type": {}}', b'{"Type": "Notification"}', b"\xff"):
        assert (await client.post(SES, content=body)).status_code == 401, body
    assert inbox(demo) == []
    assert (await post_ses(client, message)).status_code == 200


@pytest.mark.parametrize("answer", [302, 404, 500])
async def test_events_come_again_while_the_certificate_cannot_be_read(
    settings: Settings, token: str, demo: Demo, answer: int
) -> None:
    sns = Sns()
    with sns.serve():
        sns.answer = answer
        async with open_api_client(settings.model_copy(update={"sns_origin": sns.origin})) as client:
            for _ in range(3):
                assert (await post_ses(client, sns.message(ses_event("Delivery", token)))).status_code == 503
    assert sns.requested == ["/certificate.pem"]  # asked once for all that senders make up, and no redirect followed
    assert inbox(demo) == []


async def test_certificate_that_has_expired_signs_nothing(settings: Settings, token: str) -> None:
    sns = Sns(valid_from=datetime.now(UTC) - timedelta(days=400))
    with sns.serve():
        async with open_api_client(settings.model_copy(update={"sns_origin": sns.origin})) as client:
            assert (await post_ses(client, sns.message(ses_event("Delivery", token)))).status_code == 503


async def test_subscription_of_a_topic_of_ours_is_confirmed(client: httpx.AsyncClient, sns: Sns) -> None:
    def asking(url: str, arn: str = TOPIC_ARN) -> dict[str, str]:
        return sns.message(
            "You have chosen", Type="SubscriptionConfirmation", Token="t", SubscribeURL=url, TopicArn=arn
        )

    confirmation = f"{sns.origin}/?Action=ConfirmSubscription&Token=t"
    sns.requested.clear()
    assert (await post_ses(client, asking(confirmation, "arn:aws:sns:eu-central-1:666:mail"))).status_code == 401
    assert (await post_ses(client, asking("http://127.0.0.1:1/?Action=ConfirmSubscription"))).status_code == 401
    assert "/?Action=ConfirmSubscription&Token=t" not in sns.requested
    assert (await post_ses(client, asking(confirmation))).status_code == 200
    assert sns.requested[-1] == "/?Action=ConfirmSubscription&Token=t"


async def test_events_that_sendgrid_has_not_signed_are_refused(
    client: httpx.AsyncClient, settings: Settings, sendgrid: SendGrid, token: str, demo: Demo
) -> None:
    body = json.dumps([sendgrid_event("spamreport", token)]).encode()
    valid = sendgrid.headers(body)
    signature, timestamp = valid
    for headers in (
        {}, {signature: valid[signature]}, {timestamp: valid[timestamp]}, valid | {timestamp: "1"},
        valid | {timestamp: "soon"}, valid | {signature: "AAAA"}, {signature: "=", timestamp: valid[timestamp]},
        SendGrid().headers(body), sendgrid.headers(body, age=30 * 3_600), sendgrid.headers(body, age=-30 * 3_600),
        sendgrid.headers(body + b" "),
    ):  # fmt: skip
        assert (await client.post(SENDGRID, content=body, headers=headers)).status_code == 401, headers
    async with open_api_client(settings.model_copy(update={"sendgrid_webhook_key": None})) as other:
        assert (await other.post(SENDGRID, content=body, headers=valid)).status_code == 401
    for body in (b"{}", b"[1]", b"", b"\xff"):
        assert (await client.post(SENDGRID, content=body, headers=sendgrid.headers(body))).status_code == 401
    assert inbox(demo) == []


async def test_events_are_refused_while_they_cannot_be_stored(
    client: httpx.AsyncClient, settings: Settings, sendgrid: SendGrid, token: str, demo: Demo
) -> None:
    event = sendgrid_event("spamreport", token)
    with postgresql_unavailable(settings):
        assert (await post_sendgrid(client, sendgrid, event)).status_code == 503
    assert (await post_sendgrid(client, sendgrid, event)).status_code == 200
    assert len(inbox(demo)) == 1


async def test_webhook_of_shopify_cannot_pretend_to_be_an_event_of_a_mail(client: httpx.AsyncClient) -> None:
    headers = {"X-Shopify-Topic": "mail-events", "X-Shopify-Hmac-Sha256": "AAAA"}
    assert (await client.post("/api/webhooks/shopify", content=b"{}", headers=headers)).status_code == 401


async def test_merchant_lifts_the_suppression_of_an_address(client: httpx.AsyncClient, demo: Demo) -> None:
    servers = {"X-API-Key": add_key(demo, 1).key}
    demo.execute("UPDATE api_keys SET scopes = '{write}' WHERE id = (SELECT max(id) FROM api_keys)")
    administrators = {"X-API-Key": add_key(demo, 1).key}
    for shop_id in (1, 2):
        row = [shop_id, address_hash(shop_id, "jo@example.com")]
        demo.execute("INSERT INTO email_suppressions VALUES (%s, %s, 'complaint')", row)
    url, address = "/api/admin/suppressions/lift", {"email": " Jo@Example.com"}
    assert (await client.post(url, json=address, headers=servers)).status_code == 403
    lifted = await client.post(url, json=address, headers=administrators)
    assert (lifted.status_code, lifted.headers.get("content-type")) == (204, None)
    assert suppressions(demo) == [(2, "complaint")]
    assert (await client.post(url, json=address, headers=administrators)).status_code == 404
    assert (await client.post(url, json={"email": "nobody"}, headers=administrators)).status_code == 422
    [[resource_id]] = demo.execute(
        "SELECT resource_id FROM audit_logs WHERE action = 'mail.suppression_lifted'"
    ).fetchall()
    assert resource_id == address_hash(1, "jo@example.com").hex()
