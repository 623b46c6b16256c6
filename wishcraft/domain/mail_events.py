"""Normalised event of a mail, from any provider, and the outcome that is stored. Pure.

`domain.mail_suppressions` says what follows for the address, `domain.mail_reputation` for the shop.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from wishcraft.domain.mail_references import MailKind, MailReference

TOPIC: Final = "mail-events"
"""Topic of these events in the inbox. Shopify's have no hyphen: no webhook can pretend to be one."""
EVENTS_COME_WITHIN: Final = timedelta(days=30)
"""After a mail was claimed. Mail servers try for five days; a complaint may come weeks later."""
MAILBOX_MISSING: Final = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
"""Enhanced codes for a mailbox that does not exist or is disabled (RFC 3463, RFC 7505).

Other codes concern the sender, such as 5.7.1 (relaying denied), or are temporary, such as 5.2.2 (mailbox full).
"""
POLICY_STATUS: Final = "5.7."
"""Beginning of the codes of what a server refused for its content or its sender: that says nothing of the mailbox."""
_CODE: Final = re.compile(r"[A-Za-z0-9. -]{0,64}", re.ASCII)


class MailEventKind(StrEnum):
    """Kind of a mail event, in the words of django-anymail's normalised events."""

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
    """Outcome of a mail after it was handed over, as stored; a later one in this list replaces those before it.

    Events come in any order, and a mailbox may refuse a mail that its server has accepted.
    """

    DEFERRED = "deferred"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    """The provider, or a server, refused it for its content or its sender."""
    SOFT_BOUNCED = "soft_bounced"
    BOUNCED = "bounced"
    UNSUBSCRIBED = "unsubscribed"
    COMPLAINED = "complained"


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
        """The outcome that it reports; None if it reports none, but that the mail was handed over, or looked at."""
        if self.kind is MailEventKind.BOUNCED and not self.permanent:
            return MailOutcome.SOFT_BOUNCED
        return _OUTCOMES.get(self.kind)

    def to_json(self) -> dict[str, Any]:
        """The event as JSON values."""
        return {
            "table": self.reference.kind.value,
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
            KeyError, ValueError, TypeError: It is not such an event.
        """
        return cls(
            MailReference(MailKind(stored["table"]), int(stored["shop"]), int(stored["mail"])),
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
    """The outcome that counts among several of one mail, in any order."""
    return max(outcomes, key=_RANK.__getitem__)


_OUTCOMES: Final = {
    MailEventKind.DEFERRED: MailOutcome.DEFERRED,
    MailEventKind.DELIVERED: MailOutcome.DELIVERED,
    MailEventKind.REJECTED: MailOutcome.REJECTED,
    MailEventKind.BOUNCED: MailOutcome.BOUNCED,
    MailEventKind.UNSUBSCRIBED: MailOutcome.UNSUBSCRIBED,
    MailEventKind.COMPLAINED: MailOutcome.COMPLAINED,
}
_RANK: Final = {outcome: rank for rank, outcome in enumerate(MailOutcome)}
