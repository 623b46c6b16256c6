"""Bounces and complaints that come as mails."""

from base64 import b64encode
from datetime import UTC, datetime

import pytest

from tests.support.dsn import KEY, REFERENCE, TOKEN, dsn, notification
from wishcraft.domain.mail_events import MailOutcome
from wishcraft.domain.mail_references import make_token
from wishcraft.mail.events.dsn import read_notification, reference_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def feedback(kind: str) -> bytes:
    fields = (
        f"Feedback-Type: {kind}\r\nUser-Agent: SomeGenerator/1.0\r\nVersion: 1\r\nReported-Domain: shop.example\r\n"
    )
    return notification("feedback-report", "message/feedback-report", fields)


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (dsn("failed", "5.1.1"), MailOutcome.BOUNCED),
        (dsn("Failed", "5.1.1 (no such user)"), MailOutcome.BOUNCED),
        (dsn("failed (no such user)", "5.1.1"), MailOutcome.BOUNCED),
        (dsn("(sorry) FAILED", "5.1.1"), MailOutcome.BOUNCED),
        (dsn("failed", "5.1.1").replace(b"delivery-status", b"global-delivery-status"), MailOutcome.BOUNCED),
        (dsn("failed", "5.1.1").replace(b"status;", b"status; charset=x-unknown;"), MailOutcome.BOUNCED),
        (dsn("failed", "5.2.2"), MailOutcome.SOFT_BOUNCED),
        (dsn("failed", "4.4.7"), MailOutcome.SOFT_BOUNCED),
        (dsn("failed", ""), MailOutcome.SOFT_BOUNCED),
        (dsn("failed", "5.7.26"), MailOutcome.REJECTED),
        (dsn("delayed", "4.4.1"), MailOutcome.DEFERRED),
        (dsn("delivered", "2.0.0"), MailOutcome.DELIVERED),
        (feedback("abuse"), MailOutcome.COMPLAINED),
        (feedback("Fraud"), MailOutcome.COMPLAINED),
        (feedback("opt-out"), MailOutcome.UNSUBSCRIBED),
    ],
)
def test_notification_has_the_outcome_of_the_mail(content: bytes, outcome: MailOutcome) -> None:
    event = read_notification(content, REFERENCE, NOW)
    assert event
    assert (event.reference, event.outcome) == (REFERENCE, outcome)
    assert "@" not in str(event.to_json())
    assert event == read_notification(content, REFERENCE, NOW)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Subject: Out of office\r\n\r\nI am away.",
        dsn("relayed", "2.0.0"),
        feedback("not-spam"),
        feedback(""),
        b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n",
        b"Content-Type: multipart/report\r\n\r\nno parts",
        b"\xff\xfe" * 100,
        b"Content-Type: multipart/report; boundary=" + b"(" * 16_000,
        b"".join(b"Content-Type: multipart/report; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(4_000)),
        dsn("failed", "5.1.1").replace(b"multipart/report", b"multipart/mixed"),
    ],
)
def test_mail_that_is_not_a_notification_has_no_outcome(content: bytes) -> None:
    assert read_notification(content, REFERENCE, NOW) is None


@pytest.mark.parametrize(
    "content",
    [
        b'Content-Type: multipart/report; a="\r\n ' + b"\r\n ".join([b";" * 990] * 260) + b"\r\n\r\n",
        dsn("failed", "").replace(b"text/plain", b'multipart/report; a="\r\n ' + b"\r\n ".join([b";" * 990] * 260)),
    ],
)
@pytest.mark.timeout(20)
def test_mail_that_is_made_to_take_long_is_read_at_once(content: bytes) -> None:
    event = read_notification(content, REFERENCE, NOW)
    assert event is None or event.outcome is MailOutcome.SOFT_BOUNCED


def test_field_within_a_folded_line_is_none() -> None:
    folded = b"Diagnostic-Code: smtp; 550\r\n Action: delivered\r\nReporting-MTA"
    event = read_notification(dsn("failed", "5.1.1").replace(b"Reporting-MTA", folded), REFERENCE, NOW)
    assert event
    assert event.outcome is MailOutcome.BOUNCED


def test_notification_in_base64_has_the_outcome_too() -> None:
    fields = b64encode(b"Final-Recipient: rfc822; jo@example.com\r\nAction: failed\r\nStatus: 5.1.1\r\n").decode()
    part_type = "message/delivery-status\r\nContent-Transfer-Encoding: base64"
    event = read_notification(notification("delivery-status", part_type, fields), REFERENCE, NOW)
    assert event
    assert event.outcome is MailOutcome.BOUNCED


@pytest.mark.parametrize(
    ("address", "is_ours"),
    [
        (f"bounces+{TOKEN}@shop.example", True),
        (f"BOUNCES+{TOKEN.upper()}@SHOP.EXAMPLE", True),
        (f"bounces+{TOKEN}x@shop.example", False),
        (f"bounces+{make_token(REFERENCE, b'other')}@shop.example", False),
        ("bounces@shop.example", False),
        (f"a+b+{TOKEN}@shop.example", False),
        (f"{TOKEN}@shop.example", False),
        ("", False),
    ],
)
def test_address_of_a_bounce_names_its_mail_by_a_signed_reference(address: str, *, is_ours: bool) -> None:
    assert reference_of(address, [KEY]) == (REFERENCE if is_ours else None)
