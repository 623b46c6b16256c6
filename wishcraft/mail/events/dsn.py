"""Bounces and complaints as mails: status notifications (RFC 3464, RFC 6533), feedback reports (RFC 5965). Pure.

Anyone can send such a mail: it counts only for the mail whose signed reference its address has.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.errors import MessageError
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Final

from wishcraft.domain.mail_events import MAILBOX_MISSING, POLICY_STATUS, MailEvent, MailEventKind, code_only
from wishcraft.domain.mail_references import MailReference, read_token

_TOKEN: Final = re.compile(r"[^+@\s<>]{1,64}\+([^@\s<>]{1,64})@", re.ASCII)
_STATUS: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)", re.ASCII)
_WORD: Final = re.compile(r"(?:\([^()]*\)|\s)*([A-Za-z-]+)", re.ASCII)
"""The word of a field, perhaps after comments."""
_COMPLAINTS: Final = frozenset({"abuse", "fraud", "virus", "other"})
"""Feedback types of RFC 5965, section 7.3; `not-spam` takes a complaint back."""
_PARSER: Final = BytesHeaderParser()
_MAX_TYPE: Final = 1_000
"""Characters of a `Content-Type`: to find a parameter takes the square of its length."""
_MOST_PARTS: Final = 10
_NEWLINE: Final = re.compile(rb"\A\r?\n")
_FOLD: Final = re.compile(r"\r?\n[ \t]+")


def reference_of(address: str, keys: Sequence[bytes]) -> MailReference | None:
    """The mail that the address of a bounce names, such as `bounces+TOKEN@example.com`; None if no key signed it."""
    match = _TOKEN.match(address)
    return read_token(match[1], keys) if match else None


def read_notification(content: bytes, reference: MailReference, now: datetime) -> MailEvent | None:
    """The event that a notification reports; None if it is not a notification, such as an automatic reply.

    Only what is needed of it is parsed, in linear time: the standard library's parser of whole mails, and of long
    headers, takes minutes for what was made for that.

    Args:
        content: The mail as received.
        reference: That of the address to which it was sent.
        now: When it was received (aware).
    """
    try:
        kind, permanent, detail = _read(content)
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # the parser of the standard library raises them for what is malformed
    if kind is None:
        return None
    event_id = "permanent" if permanent else "temporary"  # what a mail's recipient sends again and again is one event
    return MailEvent(reference, kind, permanent, event_id, now.astimezone(UTC), code_only(detail))


def _read(content: bytes) -> tuple[MailEventKind | None, bool, str]:
    """The kind of event, whether it is permanent, and its code."""
    for part in _parts(content):
        match part.get_content_type():
            case "message/delivery-status" | "message/global-delivery-status":
                fields = _fields(part)
                return _read_status(_word(fields, "action"), fields.get("status", ""))
            case "message/feedback-report":
                return _read_feedback(_word(_fields(part), "feedback-type"))
    return None, False, ""


def _parts(content: bytes) -> Iterator[Message]:
    """The first parts of a notification, whose own parts are not parsed."""
    message = _PARSER.parsebytes(content)
    is_short = len(str(message.get("content-type", ""))) <= _MAX_TYPE
    boundary = message.get_boundary() if is_short and message.get_content_type() == "multipart/report" else None
    if not boundary:
        return
    body = b"\n" + str(message.get_payload()).encode(errors="surrogateescape")
    delimiter = rb"\r?\n--" + re.escape(boundary.encode()) + rb"(?:--)?[ \t]*(?=\r?\n|\Z)"
    for part in re.split(delimiter, body, maxsplit=_MOST_PARTS + 1)[1 : _MOST_PARTS + 1]:
        yield _PARSER.parsebytes(_NEWLINE.sub(b"", part, count=1))


def _read_status(action: str, status: str) -> tuple[MailEventKind | None, bool, str]:
    code = match[1] if (match := _STATUS.match(status)) else ""
    match action:
        case "failed" if code.startswith(POLICY_STATUS):
            return MailEventKind.REJECTED, False, code
        case "failed":
            return MailEventKind.BOUNCED, code in MAILBOX_MISSING, code
        case "delayed":
            return MailEventKind.DEFERRED, False, code
        case "delivered":
            return MailEventKind.DELIVERED, False, code
    return None, False, ""


def _read_feedback(feedback_type: str) -> tuple[MailEventKind | None, bool, str]:
    if feedback_type == "opt-out":
        return MailEventKind.UNSUBSCRIBED, False, feedback_type
    return (MailEventKind.COMPLAINED if feedback_type in _COMPLAINTS else None), False, feedback_type


def _word(fields: Mapping[str, str], name: str) -> str:
    """A field's word in lower case, without comments: RFC 3464, section 2.1.1."""
    found = _WORD.match(fields.get(name, ""))
    return found[1].lower() if found else ""


def _fields(part: Message) -> dict[str, str]:
    """The fields of a part that consists of them, with lower-case names; of several recipients, those of the first."""
    payload = part.get_payload(decode=True)
    text = payload.decode("ascii", "replace") if isinstance(payload, bytes) else ""
    fields: dict[str, str] = {}
    for line in _FOLD.sub(" ", text).split("\n"):
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    return fields
