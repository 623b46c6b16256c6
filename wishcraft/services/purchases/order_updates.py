"""Updates of orders, from webhooks and from readings of Shopify."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

from wishcraft.domain.orders import Adjustment, OrderSnapshot
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.shopify.order_payloads import read_deletion, read_edit, read_order, read_refund

DELETED: Final = "orders/delete"
EDITED: Final = "orders/edited"
REFUNDED: Final = "refunds/create"
EARLIEST: Final = datetime.min.replace(tzinfo=UTC)


class ReceivedSnapshot(NamedTuple):
    """A snapshot, and the webhook that brought it, or the reading of Shopify."""

    snapshot: OrderSnapshot
    triggered_at: datetime | None
    """Time of the event, or of the reading."""
    message_id: int | None
    """None for a reading."""
    is_awaited: bool = False
    """Whether Shopify must have sent a webhook of what a reading brings."""

    @property
    def version(self) -> tuple[datetime, datetime]:
        """Orders snapshots: `updated_at` counts whole seconds, so the webhook's time decides between equal ones."""
        return self.snapshot.updated_at, self.triggered_at or EARLIEST


@dataclass(slots=True)
class OrderUpdate:
    """The update of one order by a batch."""

    newest: ReceivedSnapshot | None = None
    adjustments: dict[str, tuple[Adjustment, int]] = field(default_factory=dict)
    """By name, with the message's id."""


def read_messages(messages: Sequence[Message]) -> tuple[dict[int, OrderUpdate], list[int]]:
    """The updates of the messages, by order; and the ids of those about test orders, and of outdated ones."""
    updates: defaultdict[int, OrderUpdate] = defaultdict(OrderUpdate)
    ignored: list[int] = []
    for message in messages:
        if message.topic in {EDITED, REFUNDED}:
            adjustment = (read_edit if message.topic == EDITED else read_refund)(message.payload)
            known = updates[adjustment.order_id].adjustments
            if adjustment.name in known:
                ignored.append(message.id)
            known.setdefault(adjustment.name, (adjustment, message.id))
            continue
        received = _received(message)
        if received.snapshot.is_test:
            ignored.append(message.id)
            continue
        order_update = updates[received.snapshot.id]
        older = order_update.newest
        if older is None or received.version > older.version:
            order_update.newest = received
            ignored += [older.message_id] if older and older.message_id is not None else []
        else:
            ignored.append(message.id)
    return dict(updates), ignored


def _received(message: Message) -> ReceivedSnapshot:
    if message.topic == DELETED:
        deleted_at = message.happened_at
        return ReceivedSnapshot(read_deletion(message.payload, deleted_at), deleted_at, message.id)
    return ReceivedSnapshot(read_order(message.payload), message.triggered_at, message.id)
