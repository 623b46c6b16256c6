"""Events of Amazon SES, as its configuration sets publish them to SNS. Pure.

https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from wishcraft.domain.mail_events import MailEvent, MailEventKind, as_text, code_only
from wishcraft.domain.mail_references import NAME, read_token
from wishcraft.errors import EventsUnsigned

_KINDS: Final[Mapping[str, tuple[MailEventKind, str]]] = {
    "Send": (MailEventKind.SENT, "send"),
    "Delivery": (MailEventKind.DELIVERED, "delivery"),
    "DeliveryDelay": (MailEventKind.DEFERRED, "deliveryDelay"),
    "Bounce": (MailEventKind.BOUNCED, "bounce"),
    "Complaint": (MailEventKind.COMPLAINED, "complaint"),
    "Reject": (MailEventKind.REJECTED, "reject"),
    "Rendering Failure": (MailEventKind.REJECTED, "failure"),
    "Open": (MailEventKind.OPENED, "open"),
    "Click": (MailEventKind.CLICKED, "click"),
    "Subscription": (MailEventKind.UNSUBSCRIBED, "subscription"),
}
"""The kind of each type of event, and where the event has what is particular to it."""
_NO_COMPLAINTS: Final = frozenset({"not-spam", "auth-failure"})
"""Feedback types that take a complaint back, or report a signature: of mailbox providers, not of recipients."""
_ON_SUPPRESSION_LIST: Final = "OnAccountSuppressionList"
_OF_THE_CONTENT: Final = frozenset({"AttachmentRejected", "ContentRejected", "MessageTooLarge"})
"""Bounces that say nothing of the mailbox, as the status 5.7 of those by SMTP."""
_UNSPECIFIC: Final = frozenset({"General", "Undetermined"})
_FAILURES: Final = frozenset({"action", "status", "diagnosticCode"})
"""What a bounced recipient has of the notification that came back: that of an automatic reply has nothing."""


def read_ses(text: str, message_id: str, keys: Sequence[bytes]) -> MailEvent | None:
    """The event; None if it is not about one of our mails, or of a kind without an outcome.

    SES reports automatic replies, such as of a person on holiday, as soft bounces: they have no outcome. A mail to an
    address on SES's own suppression list was not tried: that is a bounce, also where the address is on the list because
    of a complaint, which was about an earlier mail.

    Args:
        text: The message that SNS delivered.
        message_id: Its id: that of the event.
        keys: Of references.

    Raises:
        EventsUnsigned: It is not an event of SES.
    """
    try:
        event = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None  # SES confirms a new destination by a plain text
    if not isinstance(event, dict):
        raise EventsUnsigned("The message is not an event of SES.")
    name = as_text(event.get("eventType") or event.get("notificationType"))
    kind, place = _KINDS.get(name, (None, ""))
    mail = _object(event, "mail")
    reference = read_token(_first(_object(mail, "tags").get(NAME)), keys)
    if kind is None or reference is None:
        return None
    part = _object(event, place)
    permanent, detail = False, ""
    if kind is MailEventKind.BOUNCED:
        permanent = part.get("bounceType") == "Permanent"
        if not permanent and _is_automatic_reply(part):
            return None
        subtype = as_text(part.get("bounceSubType"))
        kind = MailEventKind.REJECTED if not permanent and subtype in _OF_THE_CONTENT else kind
        detail = f"{as_text(part.get('bounceType'))} {subtype}"
    elif kind is MailEventKind.COMPLAINED:
        detail = as_text(part.get("complaintFeedbackType"))
        if detail in _NO_COMPLAINTS:
            return None
        if part.get("complaintSubType") == _ON_SUPPRESSION_LIST:
            kind, permanent, detail = MailEventKind.BOUNCED, True, _ON_SUPPRESSION_LIST
    occurred_at = _time(part.get("timestamp")) or _time(mail.get("timestamp")) or datetime.now(UTC)
    return MailEvent(reference, kind, permanent, message_id, occurred_at, code_only(detail))


def _is_automatic_reply(bounce: Mapping[str, Any]) -> bool:
    recipients = bounce.get("bouncedRecipients")
    found = [each for each in recipients if isinstance(each, dict)] if isinstance(recipients, list) else []
    return as_text(bounce.get("bounceSubType")) in _UNSPECIFIC and not any(_FAILURES & each.keys() for each in found)


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def _first(values: object) -> str:
    return as_text(values[0]) if isinstance(values, list) and values else ""


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(as_text(text))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None
