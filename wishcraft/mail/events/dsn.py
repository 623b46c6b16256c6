"""Bounces and complaints as mails: status notifications (RFC 3464, RFC 6533), feedback reports (RFC 5965). Pure.

Anyone can send such a mail: it counts only for the mail whose signed reference its address has.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError
from email.message import Message
from hashlib import sha256
from typing import Final

from wishcraft.domain.mail_events import MailEvent, MailEventKind, MailReference, code_only, read_token
from wishcraft.mail.providers.smtp import MAILBOX_MISSING

_TOKEN: Final = re.compile(r"[^+@\s<>]{1,64}\+([^@\s<>]{1,64})@", re.ASCII)
_STATUS: Final = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s|$)", re.ASCII)
_WORD: Final = re.compile(r"(?:\([^()]*\)|\s)*([A-Za-z-]+)", re.ASCII)
"""The word of a field, perhaps after comments."""
_POLICY_STATUS: Final = "5.7."
"""Of what a server refused for its content or its sender: that says nothing of the mailbox."""
_COMPLAINTS: Final = frozenset({"abuse", "fraud", "virus", "other"})
"""Feedback types of RFC 5965, section 7.3; `not-spam` takes a complaint back."""


def reference_of(address: str, keys: Sequence[bytes]) -> MailReference | None:
    """The mail that the address of a bounce names, such as `bounces+TOKEN@example.com`; None if no key signed it."""
    match = _TOKEN.match(address)
    return read_token(match[1], keys) if match else None


def read_report(content: bytes, reference: MailReference, now: datetime) -> MailEvent | None:
    """What a received mail says became of the mail; None if it is no report, such as an automatic reply.

    It is parsed by the old policy of the standard library: the newer one takes minutes for headers made for that.

    Args:
        content: The mail as received.
        reference: That of the address to which it was sent.
        now: When it was received (aware).
    """
    try:
        message = message_from_bytes(content)
        kind, permanent, detail = _read(message)
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # the parser of the standard library raises them for what is malformed
    if kind is None:
        return None
    event_id = sha256(content).hexdigest()
    return MailEvent(reference, kind, permanent, event_id, now.astimezone(UTC), code_only(detail))


def _read(message: Message) -> tuple[MailEventKind | None, bool, str]:
    """The kind of event, whether it is permanent, and its code."""
    if message.get_content_type() != "multipart/report":
        return None, False, ""
    parts = message.get_payload()
    for part in (each for each in parts if isinstance(each, Message)) if isinstance(parts, list) else ():
        fields = _fields(part)
        match part.get_content_type():
            case "message/delivery-status" | "message/global-delivery-status":
                return _read_status(_word(fields, "action"), fields.get("status", ""))
            case "message/feedback-report":
                return _read_feedback(_word(fields, "feedback-type"))
    return None, False, ""


def _read_status(action: str, status: str) -> tuple[MailEventKind | None, bool, str]:
    code = match[1] if (match := _STATUS.match(status)) else ""
    match action:
        case "failed" if code.startswith(_POLICY_STATUS):
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
    payload = part.get_payload()
    blocks = payload if isinstance(payload, list) else []
    # Of a notification beyond ASCII, the parser takes the second block for the body of the first.
    lines = [line for block in blocks for line in (*map(": ".join, block.items()), str(block.get_payload()))]  # type: ignore[union-attr]
    text = "\n".join(lines) if lines else str(payload)
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip().lower(), value.strip())
    return fields
