"""Webhooks: topics with their priority, outcomes, and the delay before a failed one is tried again. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from wishcraft.domain.mail_events import TOPIC as MAIL_EVENTS


class WebhookOutcome(StrEnum):
    """Outcome of a webhook."""

    APPLIED = "applied"
    IGNORED = "ignored"
    """Nothing was to be changed: older than what is known, about nothing that a registry has, or of an unknown shop."""
    DEAD = "dead"
    """It failed for good: a dead letter, which a person replays or discards."""
    DISCARDED = "discarded"
    """A person discarded the dead letter."""


class TopicPriority(StrEnum):
    """Priority of a topic; each has a stream in Redis, and the higher one is served first."""

    HIGH = "high"
    """Webhooks that a person waits for, or that the law demands."""
    LOW = "low"


TOPICS: Final = {
    "orders/create": TopicPriority.HIGH,
    "orders/updated": TopicPriority.HIGH,
    "orders/edited": TopicPriority.HIGH,
    "orders/cancelled": TopicPriority.HIGH,
    "orders/delete": TopicPriority.HIGH,
    "refunds/create": TopicPriority.HIGH,
    "customers/data_request": TopicPriority.HIGH,
    "customers/merge": TopicPriority.HIGH,
    "customers/redact": TopicPriority.HIGH,
    "shop/redact": TopicPriority.HIGH,
    "bulk_operations/finish": TopicPriority.LOW,
    "products/update": TopicPriority.LOW,
    "products/delete": TopicPriority.LOW,
    "inventory_levels/update": TopicPriority.LOW,
    "inventory_items/update": TopicPriority.LOW,
    "app/uninstalled": TopicPriority.HIGH,
    "shop/update": TopicPriority.LOW,
}
"""The topics that the app subscribes to; webhooks of others are stored and ignored.

https://shopify.dev/docs/api/webhooks
"""
HIGH_TOPICS: Final = (MAIL_EVENTS, *(topic for topic, each in TOPICS.items() if each is TopicPriority.HIGH))
REDACT_CUSTOMER: Final = "customers/redact"
REDACT_SHOP: Final = "shop/redact"
DATA_REQUEST: Final = "customers/data_request"
COMPLIANCE_TOPICS: Final = (DATA_REQUEST, REDACT_CUSTOMER, REDACT_SHOP)
"""Mandatory for every app: https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance.

They are handled for shops that have removed the app too; those of shops that were never known are ignored.
"""
MERGE: Final = "customers/merge"
LASTING_TOPICS: Final = (*COMPLIANCE_TOPICS, MERGE, MAIL_EVENTS)
"""Handled also for a known shop without the app: it may have installed it again, and not opened it yet.

What it misses of orders, products and stock is read from Shopify then; a merge, and a complaint about a mail, are
reported only once.
"""
MAX_ATTEMPTS: Final = 10
"""Failed tries after which a webhook is a dead letter: about a quarter of an hour by `retry_delay`."""
PATIENCE: Final = timedelta(days=1)
"""While a webhook is younger, tries that Shopify, the mail server or Redis does not answer do not count."""
MAX_AHEAD: Final = timedelta(days=1)
"""Times in webhooks that are further ahead are refused: no later update could replace them."""
_FIRST_DELAY: Final = 2.0
_LONGEST_WAIT: Final = 300.0


def priority_of(topic: str) -> TopicPriority:
    """The priority of a topic; low for one that is not known."""
    return TopicPriority.HIGH if topic in HIGH_TOPICS else TopicPriority.LOW


class EventTime(NamedTuple):
    """The time of a webhook's event, which orders the webhooks about one thing."""

    updated_at: datetime
    """By the payload, in whole seconds."""
    triggered_at: datetime
    """By the header: decides between two of the same second."""

    @property
    def observed_at(self) -> datetime:
        """A reading made at this time or later is newer than the webhook: the end of the second of its event."""
        return self.updated_at + timedelta(seconds=1)


def event_time(updated_at: datetime | None, triggered_at: datetime | None) -> EventTime | None:
    """The time of an event, from what is known of it; None if that is nothing."""
    first, second = updated_at or triggered_at, triggered_at or updated_at
    return EventTime(first, second) if first and second else None


def retry_delay(attempts: int, jitter: Callable[[float, float], float]) -> timedelta:
    """Delay after `attempts` failed tries: doubled each time, and between half and all of it at random.

    Args:
        attempts: At least 1.
        jitter: A random number between two others, such as `random.uniform`.
    """
    return timedelta(seconds=_FIRST_DELAY * 2.0 ** (attempts - 1) * jitter(0.5, 1.0))


def wait_delay(age: timedelta, jitter: Callable[[float, float], float]) -> timedelta:
    """Delay before a webhook of that age is tried again that waits for Shopify: between half and all of its age.

    At least between one and two seconds, at most between two and a half and five minutes.

    Args:
        age: Time since its receipt.
        jitter: As for `retry_delay`.
    """
    seconds = min(_LONGEST_WAIT, max(_FIRST_DELAY, age.total_seconds()))
    return timedelta(seconds=seconds * jitter(0.5, 1.0))
