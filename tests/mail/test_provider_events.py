"""Events of SES and SendGrid as they are documented, and what they say of our mails."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.mail_events import sendgrid_event, ses_event
from wishcraft.domain.mail_events import MailEvent, MailOutcome
from wishcraft.domain.mail_references import PURPOSE, MailKind, MailReference, make_token
from wishcraft.domain.signing import derive_keys
from wishcraft.mail.events.sendgrid import read_sendgrid
from wishcraft.mail.events.ses import read_ses

[KEY] = derive_keys(["key"], PURPOSE)
REFERENCE = MailReference(MailKind.INVITATION, 3, 77)
TOKEN = make_token(REFERENCE, KEY)
SOFT, HARD = MailOutcome.SOFT_BOUNCED, MailOutcome.BOUNCED


def bounce(kind: str, subtype: str) -> dict[str, Any]:
    text = "smtp; 550 5.1.1 <jo@example.com>: no such user"
    recipient = {"emailAddress": "jo@example.com", "diagnosticCode": text}
    return ses_event("Bounce", TOKEN, bounceType=kind, bounceSubType=subtype, bouncedRecipients=[recipient] * 2)


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (ses_event("Send", TOKEN), None),
        (ses_event("Delivery", TOKEN), MailOutcome.DELIVERED),
        (ses_event("DeliveryDelay", TOKEN, delayType="MailboxFull"), MailOutcome.DEFERRED),
        (bounce("Permanent", "General"), HARD),
        (bounce("Permanent", "NoEmail"), HARD),
        (bounce("Permanent", "OnAccountSuppressionList"), HARD),
        (bounce("Transient", "MailboxFull"), SOFT),
        (bounce("Transient", "ContentRejected"), MailOutcome.REJECTED),
        (bounce("Undetermined", "Undetermined"), SOFT),
        (ses_event("Complaint", TOKEN, complaintFeedbackType="abuse"), MailOutcome.COMPLAINED),
        (ses_event("Complaint", TOKEN), MailOutcome.COMPLAINED),
        (ses_event("Complaint", TOKEN, complaintSubType="OnAccountSuppressionList"), HARD),
        (ses_event("Reject", TOKEN, reason="Bad content"), MailOutcome.REJECTED),
        (ses_event("Open", TOKEN), None),
    ],
)
def test_event_of_ses_has_the_outcome_of_its_mail(event: dict[str, Any], outcome: MailOutcome | None) -> None:
    read = read_ses(json.dumps(event), "id", [KEY])
    assert read
    assert (read.reference, read.outcome, read.event_id) == (REFERENCE, outcome, "id")
    assert "@" not in json.dumps(read.to_json())
    assert MailEvent.from_json(read.to_json()) == read


@pytest.mark.parametrize("kind", ["Transient", "Undetermined"])
def test_automatic_reply_that_ses_reports_as_a_bounce_is_ignored(kind: str) -> None:
    subtype = "General" if kind == "Transient" else kind
    recipients = [{"emailAddress": "ooto@simulator.amazonses.com"}]
    event = ses_event("Bounce", TOKEN, bounceType=kind, bounceSubType=subtype, bouncedRecipients=recipients)
    assert read_ses(json.dumps(event), "id", [KEY]) is None
    event["bounce"]["bouncedRecipients"] = [recipients[0] | {"action": "failed", "status": "4.4.7"}]
    read = read_ses(json.dumps(event), "id", [KEY])
    assert read
    assert read.outcome is SOFT


@pytest.mark.parametrize("kind", ["not-spam", "auth-failure"])
def test_feedback_that_no_recipient_complains_by_is_ignored(kind: str) -> None:
    event = ses_event("Complaint", TOKEN, complaintFeedbackType=kind)
    assert read_ses(json.dumps(event), "id", [KEY]) is None


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"event": "processed"}, None),
        ({"event": "delivered"}, MailOutcome.DELIVERED),
        ({"event": "deferred", "response": "450 <jo@example.com>"}, MailOutcome.DEFERRED),
        ({"event": "bounce", "type": "bounce", "status": "5.1.1", "reason": "550 <jo@example.com>"}, HARD),
        ({"event": "bounce"}, HARD),
        ({"event": "bounce", "type": "blocked"}, SOFT),
        ({"event": "bounce", "type": "blocked", "status": "4.2.2", "bounce_classification": "Technical"}, SOFT),
        ({"event": "bounce", "type": "blocked", "status": "5.7.1"}, MailOutcome.REJECTED),
        ({"event": "bounce", "type": "blocked", "bounce_classification": "Reputation"}, MailOutcome.REJECTED),
        ({"event": "dropped", "reason": "Bounced Address"}, HARD),
        ({"event": "dropped", "reason": "Invalid"}, HARD),
        ({"event": "dropped", "reason": "Spam Reporting Address"}, HARD),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, MailOutcome.UNSUBSCRIBED),
        ({"event": "dropped", "reason": "Spam Content (if Spam Checker app enabled)"}, MailOutcome.REJECTED),
        ({"event": "spamreport"}, MailOutcome.COMPLAINED),
        ({"event": "unsubscribe"}, MailOutcome.UNSUBSCRIBED),
        ({"event": "group_unsubscribe"}, MailOutcome.UNSUBSCRIBED),
        ({"event": "open"}, None),
        ({"event": "click", "url": "https://example.com"}, None),
    ],
)
def test_event_of_sendgrid_has_the_outcome_of_its_mail(fields: dict[str, Any], outcome: MailOutcome | None) -> None:
    [read] = read_sendgrid(json.dumps([sendgrid_event("", TOKEN) | fields]).encode(), [KEY])
    assert read
    assert (read.reference, read.outcome) == (REFERENCE, outcome)
    assert "@" not in json.dumps(read.to_json())


def test_malformed_fields_of_an_event_do_no_harm() -> None:
    odd = sendgrid_event("bounce", TOKEN) | {
        "timestamp": "9" * 40,
        "sg_event_id": None,
        "type": ["x"],
        "status": "x" * 99,
    }
    [read] = read_sendgrid(json.dumps([odd]).encode(), [KEY])
    assert read
    assert abs((read.occurred_at - datetime.now(UTC)).total_seconds()) < 60
    assert (read.detail, len(read.event_id)) == ("", 64)
    [unknown, other] = read_sendgrid(json.dumps([odd | {"event": "new"}, odd | {"wishcraft": 7}]).encode(), [KEY])
    assert unknown is other is None
    strange = ses_event("Bounce", TOKEN) | {"bounce": ["x"], "mail": {"tags": {"wishcraft": [TOKEN]}, "timestamp": 5}}
    read = read_ses(json.dumps(strange), "id", [KEY])
    assert read
    assert read.outcome is SOFT


@pytest.mark.parametrize("depth", [300, 1_010])
@pytest.mark.parametrize("name", ["event", "wishcraft", "type", "status", "reason", "sg_event_id", "timestamp", "x"])
def test_deeply_nested_field_of_sendgrid_is_read_as_none(name: str, depth: int) -> None:
    event = sendgrid_event("dropped", TOKEN) | {"sg_event_id": "", name: "DEEP"}
    read = read_sendgrid(json.dumps([event]).replace('"DEEP"', "[" * depth + "]" * depth).encode(), [KEY])
    assert read == [None] or (read[0] and len(read[0].event_id) < 100)


@pytest.mark.parametrize("name", ["eventType", "bounceType", "bounceSubType", "timestamp"])
def test_deeply_nested_field_of_ses_is_read_as_none(name: str) -> None:
    event = bounce("Transient", "General")
    (event if name == "eventType" else event["bounce"])[name] = "DEEP"
    read = read_ses(json.dumps(event).replace('"DEEP"', "[" * 1_010 + "]" * 1_010), "id", [KEY])
    assert (read and read.outcome) == (None if name == "eventType" else SOFT)
