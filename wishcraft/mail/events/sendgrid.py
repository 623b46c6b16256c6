"""The signed event webhook of SendGrid. Pure.

https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from wishcraft.domain.mail_events import POLICY_STATUS, MailEvent, MailEventKind, as_text, code_only
from wishcraft.domain.mail_references import NAME, read_token
from wishcraft.errors import ConfigurationError, EventsUnsigned

MAX_AGE: Final = timedelta(hours=25)
"""SendGrid tries for a day to deliver events, with the first signature. What comes again is stored once."""
_KINDS: Final = {
    "processed": MailEventKind.SENT,
    "deferred": MailEventKind.DEFERRED,
    "delivered": MailEventKind.DELIVERED,
    "bounce": MailEventKind.BOUNCED,
    "dropped": MailEventKind.REJECTED,
    "spamreport": MailEventKind.COMPLAINED,
    "unsubscribe": MailEventKind.UNSUBSCRIBED,
    "group_unsubscribe": MailEventKind.UNSUBSCRIBED,
    "open": MailEventKind.OPENED,
    "click": MailEventKind.CLICKED,
}
_DROPPED: Final = {
    "bounced address": (MailEventKind.BOUNCED, True),
    "invalid": (MailEventKind.BOUNCED, True),
    "spam reporting address": (MailEventKind.BOUNCED, True),
    "unsubscribed address": (MailEventKind.UNSUBSCRIBED, False),
}
"""Why SendGrid did not try a mail: its own lists, by reason. Any other reason is about the content or the account."""
_OF_THE_SENDER: Final = frozenset({"Content", "Reputation"})
"""Classes of bounces that say nothing of the mailbox, as the status 5.7."""


def load_key(text: str) -> EllipticCurvePublicKey:
    """The public key that SendGrid shows, base64 of a SubjectPublicKeyInfo.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        key = load_der_public_key(base64.b64decode(text, validate=True))
    except (ValueError, binascii.Error):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise ConfigurationError("SENDGRID_WEBHOOK_KEY must be the verification key that SendGrid shows, as base64")
    return key


def verify(body: bytes, signature: str, timestamp: str, key: EllipticCurvePublicKey) -> None:
    """Check that SendGrid signed the body as received, and not too long ago.

    Raises:
        EventsUnsigned: It did not.
    """
    try:
        age = datetime.now(UTC) - datetime.fromtimestamp(int(timestamp), UTC)
        key.verify(base64.b64decode(signature, validate=True), timestamp.encode() + body, ECDSA(SHA256()))
    except (InvalidSignature, ValueError, OverflowError, OSError):
        raise EventsUnsigned("The signature is not SendGrid's.") from None
    if not -MAX_AGE < age < MAX_AGE:
        raise EventsUnsigned("The events are too old.")


def read_sendgrid(body: bytes, keys: Sequence[bytes]) -> list[MailEvent | None]:
    """The events of a verified body; None for each that is not about one of our mails, or has no outcome.

    Raises:
        EventsUnsigned: It is not a list of events.
    """
    try:
        events = orjson.loads(body)
    except orjson.JSONDecodeError:
        events = None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise EventsUnsigned("The body is not a list of events.")
    return [_read(event, keys) for event in events]


def _read(event: Mapping[str, Any], keys: Sequence[bytes]) -> MailEvent | None:
    kind = _KINDS.get(as_text(event.get("event")))
    reference = read_token(as_text(event.get(NAME)), keys)
    if kind is None or reference is None:
        return None
    permanent = kind is MailEventKind.BOUNCED and event.get("type") != "blocked"
    if kind is MailEventKind.BOUNCED and not permanent and _is_policy(event):
        kind = MailEventKind.REJECTED
    elif kind is MailEventKind.REJECTED:
        kind, permanent = _DROPPED.get(as_text(event.get("reason")).lower(), (kind, False))
    detail = " ".join(filter(None, (as_text(event.get(name)) for name in ("type", "status"))))
    event_id = as_text(event.get("sg_event_id"))
    if not event_id:
        event_id = sha256(f"{as_text(event.get('timestamp'))} {permanent} {detail}".encode()).hexdigest()
    return MailEvent(reference, kind, permanent, event_id, _time(event.get("timestamp")), code_only(detail))


def _is_policy(bounce: Mapping[str, Any]) -> bool:
    """Whether a server refused the content or the sender."""
    classes = as_text(bounce.get("bounce_classification"))
    return classes in _OF_THE_SENDER or as_text(bounce.get("status")).startswith(POLICY_STATUS)


def _time(seconds: object) -> datetime:
    try:
        return datetime.fromtimestamp(int(as_text(seconds)), UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.now(UTC)
