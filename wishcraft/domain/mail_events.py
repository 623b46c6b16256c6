"""What a mail provider says became of a mail, what follows from it, and the signed reference that names the mail. Pure.

A reference names one row of a table of mails. It goes out with the mail (the return path of SMTP, a tag of SES, a
custom argument of SendGrid) and comes back with each event: an event is never matched by an address.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

TOPIC: Final = "mail-events"
"""Topic of these events in the inbox. Shopify's have no hyphen: no webhook can pretend to be one."""
SOFT_BOUNCES: Final = 3
SOFT_BOUNCE_PERIOD: Final = timedelta(days=14)
"""This many soft bounces of an address within this time count as a hard one."""
COMPLAINT_LIMIT: Final = 0.003
"""Share of complaints from which mailbox providers refuse a sender: Gmail's and Yahoo's rules for bulk senders."""
BOUNCE_WARNING: Final = 0.05
COMPLAINT_WARNING: Final = 0.001
"""Shares from which Amazon SES reviews an account; SendGrid names the same."""
COMPLAINT_PERIOD: Final = timedelta(days=7)
MIN_COMPLAINTS: Final = 3
"""Fewer complaints pause no shop, whatever their share: a small shop sends few mails."""
_PURPOSE: Final = b"wishcraft: mail reference, 1"
_MAC_BYTES: Final = 10
_CODE: Final = re.compile(r"[A-Za-z0-9. -]{0,64}", re.ASCII)
_TOKEN: Final = re.compile(r"([ri])-([0-9a-f]{1,16})-([0-9a-f]{1,16})-([a-z2-7]{16})", re.ASCII)


class MailTable(StrEnum):
    """The table of a referenced mail, by its letter in a token."""

    REMINDERS = "r"
    INVITATIONS = "i"


class MailReference(NamedTuple):
    """The row of a mail."""

    table: MailTable
    shop_id: int
    row_id: int


class MailEventKind(StrEnum):
    """What became of a mail, in the words of django-anymail's normalised events."""

    SENT = "sent"
    DEFERRED = "deferred"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    REJECTED = "rejected"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    OPENED = "opened"
    CLICKED = "clicked"


class MailOutcome(StrEnum):
    """What became of a mail after it was handed over, as stored with it; a later one in this list replaces the others.

    Events come in any order, and a mailbox may refuse a mail that its server has accepted.
    """

    DEFERRED = "deferred"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    """The provider did not send it, because of its content."""
    SOFT_BOUNCED = "soft_bounced"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


class SuppressionReason(StrEnum):
    """Why an address is suppressed."""

    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    UNSUBSCRIBE = "unsubscribe"


@dataclass(frozen=True, slots=True)
class MailEvent:
    """A normalised event of one mail. It holds no address."""

    reference: MailReference
    kind: MailEventKind
    permanent: bool
    """Of a bounce: whether the mailbox will never accept mail (a hard bounce)."""
    event_id: str
    """The provider's id, the same for each repetition of the event."""
    occurred_at: datetime
    """Aware."""
    detail: str = ""
    """The provider's code or category, such as `5.1.1` or `OnAccountSuppressionList`; no text that may repeat an
    address."""

    @property
    def outcome(self) -> MailOutcome | None:
        """The outcome that it tells; None if it tells nothing new: that the mail was handed over, or looked at."""
        if self.kind is MailEventKind.BOUNCED and not self.permanent:
            return MailOutcome.SOFT_BOUNCED
        return _OUTCOMES.get(self.kind)

    def to_json(self) -> dict[str, Any]:
        """The event as JSON values."""
        return {
            "table": self.reference.table.value,
            "shop": self.reference.shop_id,
            "mail": self.reference.row_id,
            "kind": self.kind.value,
            "permanent": self.permanent,
            "event_id": self.event_id,
            "occurred_at": self.occurred_at.isoformat(),
            "detail": self.detail,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "MailEvent":
        """The event that `to_json` wrote.

        Raises:
            KeyError, ValueError, TypeError: It is no such event.
        """
        return cls(
            MailReference(MailTable(stored["table"]), int(stored["shop"]), int(stored["mail"])),
            MailEventKind(stored["kind"]),
            bool(stored["permanent"]),
            str(stored["event_id"]),
            datetime.fromisoformat(stored["occurred_at"]).astimezone(UTC),
            str(stored["detail"]),
        )


def as_text(value: object) -> str:
    """A text or number of an event as a text; empty for all else, such as lists too deep for `str`."""
    return str(value) if isinstance(value, str | int | float) else ""


def code_only(text: str) -> str:
    """The code or category without what may be text of a mail server, which repeats addresses."""
    return text if _CODE.fullmatch(text) else ""


def latest_outcome(outcomes: Iterable[MailOutcome]) -> MailOutcome:
    """The outcome that counts among several of one mail, in whatever order they came."""
    return max(outcomes, key=_RANK.__getitem__)


def suppression_for(outcome: MailOutcome, soft_bounces: int) -> SuppressionReason | None:
    """Why an address is to be suppressed after this outcome of a mail to it; None if it is not.

    Args:
        outcome: Of one mail.
        soft_bounces: Mails of the shop to the address that bounced softly within `SOFT_BOUNCE_PERIOD`, this one too.
    """
    if outcome is MailOutcome.SOFT_BOUNCED:
        return SuppressionReason.BOUNCE if soft_bounces >= SOFT_BOUNCES else None
    return _SUPPRESSING.get(outcome)


def too_many_complaints(complaints: int, told: int) -> bool:
    """Whether a shop is to send no mail for now.

    Args:
        complaints: Within `COMPLAINT_PERIOD`.
        told: All mails of which the provider told an outcome in that time.
    """
    return complaints >= MIN_COMPLAINTS and complaints > COMPLAINT_LIMIT * told


def derive_keys(secrets: Sequence[str]) -> list[bytes]:
    """Derive the signing keys of references from the application's secrets."""
    return [hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256) for secret in secrets]


def make_token(reference: MailReference, key: bytes) -> str:
    """The signed token: at most 53 characters of `a-z0-9-`, so that it fits in the local part of an address."""
    body = f"{reference.table.value}-{reference.shop_id:x}-{reference.row_id:x}"
    return f"{body}-{_mac(body, key)}"


def read_token(token: str, keys: Sequence[bytes]) -> MailReference | None:
    """The reference if one of the keys signed it, else None. Case does not matter: mail servers may change it."""
    found = _TOKEN.fullmatch(token.lower())
    if found is None:
        return None
    table, shop_id, row_id, mac = found.groups()
    body = f"{table}-{shop_id}-{row_id}"
    matches = [hmac.compare_digest(_mac(body, key), mac) for key in keys]  # all are tried, for a constant time
    if not any(matches):
        return None
    return MailReference(MailTable(table), int(shop_id, 16), int(row_id, 16))


_OUTCOMES: Final = {
    MailEventKind.DEFERRED: MailOutcome.DEFERRED,
    MailEventKind.DELIVERED: MailOutcome.DELIVERED,
    MailEventKind.REJECTED: MailOutcome.REJECTED,
    MailEventKind.BOUNCED: MailOutcome.BOUNCED,
    MailEventKind.UNSUBSCRIBED: MailOutcome.UNSUBSCRIBED,
    MailEventKind.COMPLAINED: MailOutcome.COMPLAINED,
}
_RANK: Final = {outcome: rank for rank, outcome in enumerate(MailOutcome)}
_SUPPRESSING: Final = {
    MailOutcome.BOUNCED: SuppressionReason.BOUNCE,
    MailOutcome.UNSUBSCRIBED: SuppressionReason.UNSUBSCRIBE,
    MailOutcome.COMPLAINED: SuppressionReason.COMPLAINT,
}


def _mac(body: str, key: bytes) -> str:
    return base64.b32encode(hmac.digest(key, body.encode(), hashlib.sha256)[:_MAC_BYTES]).decode().lower()
