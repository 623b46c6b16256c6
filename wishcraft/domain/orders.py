"""Orders of Shopify as far as registries are concerned, and what refunds and edits change about them. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID

from wishcraft.domain.registries import PurchaseStatus

ITEM_PROPERTY: Final = "_registry_item"
"""The property of a line item, or the note attribute of an order, that has the attribution of an item."""
REGISTRY_ATTRIBUTE: Final = "_registry"
"""The note attribute of an order that has the slug of a registry: a cart's attribute ends up there."""
MESSAGE_PROPERTY: Final = "_gift_message"
NAME_PROPERTY: Final = "_purchaser_name"
ANONYMOUS_PROPERTY: Final = "_is_anonymous"
VISITOR_PROPERTY: Final = "_registry_visitor"
"""The property of a line item, or the note attribute of an order, that has the `visitor_id` of the guest's events."""


class Line(NamedTuple):
    """A line item of an order."""

    id: int
    variant_id: int | None
    """None for a custom line, or if the variant was deleted."""
    title: str
    ordered: int
    """Pieces that were ordered."""
    left: int
    """Pieces that are left of them after the refunds and edits that the order knows."""
    unit_price: Decimal
    """In the shop's currency."""
    claim: str
    """The value of `ITEM_PROPERTY`; empty without one."""
    purchaser_name: str | None
    anonymous: bool
    gift_message: str | None
    visitor: str | None = None
    """The value of `VISITOR_PROPERTY`, if it is one."""


class OrderSnapshot(NamedTuple):
    """The state of an order at `updated_at`, which Shopify gives in whole seconds."""

    id: int
    name: str
    ordered_at: datetime | None
    """None if it is not known."""
    updated_at: datetime
    is_test: bool
    status: PurchaseStatus
    """PENDING until it is paid, CANCELLED if it was cancelled, or its payment voided or not taken in time, else
    CONFIRMED."""
    item_claims: tuple[str, ...]
    """Attributions of items that the order's note attributes name."""
    registry_claim: str
    """The slug that the order's note attributes name; empty without one."""
    purchaser_id: int | None
    purchaser_email: str | None
    lines: tuple[Line, ...]
    refunds: frozenset[int] | None
    """The refunds that it includes; None if it does not say."""


def deleted_order(order_id: int, deleted_at: datetime) -> OrderSnapshot:
    """The last snapshot of an order that was deleted: it has no lines any more."""
    return OrderSnapshot(
        id=order_id,
        name="",
        ordered_at=None,
        updated_at=deleted_at,
        is_test=False,
        status=PurchaseStatus.CANCELLED,
        item_claims=(),
        registry_claim="",
        purchaser_id=None,
        purchaser_email=None,
        lines=(),
        refunds=None,
    )


class Adjustment(NamedTuple):
    """A refund or an edit that came on its own: how it changes the pieces of line items."""

    order_id: int
    name: str
    """`refund/` or `edit/` and its id."""
    at: datetime | None
    pieces: dict[int, int]


class LineState(NamedTuple):
    """Pieces of a line that were ordered and that are bought, and their status.

    If none are left, the quantity is what was ordered: it must not depend on which refund came first.
    """

    ordered: int
    quantity: int
    status: PurchaseStatus


def includes(snapshot: OrderSnapshot, name: str, at: datetime | None) -> bool:
    """Whether the snapshot's pieces have this adjustment in them: by the refund's id, else by the time."""
    kind, _, number = name.partition("/")
    if kind == "refund" and snapshot.refunds is not None:
        return int(number) in snapshot.refunds
    return at is not None and at <= snapshot.updated_at


def line_state(line: Line, status: PurchaseStatus, pending: Sequence[Mapping[int, int]]) -> LineState:
    """The state of a line of a snapshot with this status, after the adjustments that it does not include."""
    left, ordered = line.left + sum(each.get(line.id, 0) for each in pending), max(line.ordered, 1)
    if status is PurchaseStatus.CANCELLED:
        return LineState(ordered, ordered, status)
    if left <= 0:
        return LineState(ordered, ordered, PurchaseStatus.REFUNDED)
    return LineState(ordered, left, status)


def find_attribution(claim: str) -> UUID | None:
    """The attribution of an item that a claim is, or None."""
    try:
        return UUID(claim.strip())
    except ValueError:
        return None
