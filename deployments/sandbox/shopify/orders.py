"""The orders of a simulated shop. They change its stock, and each change publishes the webhooks that Shopify sends."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, NamedTuple, TypeAlias

from deployments.sandbox.catalogue import DemoShop
from deployments.sandbox.shopify.inventory import Inventory
from deployments.sandbox.shopify.order import Customer, Order, OrderLine, Properties, Refund, Terms
from deployments.sandbox.shopify.order_payloads import edit_payload, order_payload, refund_payload

MAX_ORDERS: Final = 20_000
"""Of a shop; the oldest are forgotten."""
MAX_LINES: Final = 500
REACH: Final = timedelta(days=60)
"""An app without the scope `read_all_orders` gets no order that was made earlier."""
SIMPLE_TERMS: Final = Terms()
UNPAID: Final = frozenset({"pending", "authorized"})
_IDS_PER_SECOND: Final = 4_000
_SPACE: Final = 10_000_000_000_000
_FIRST_NUMBER: Final = 100_001
"""Above those of the demo data."""
_NUMBERED_SINCE: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()

Publish: TypeAlias = Callable[[str, dict[str, Any], str], None]
"""Publishes an event to the app: the topic, the payload, and a description for people."""


class OrderRefused(ValueError):  # noqa: N818  it names a state
    """The order cannot be changed like this; nothing has changed."""


class WantedLine(NamedTuple):
    """A line of an order to be."""

    variant_id: int
    quantity: int
    properties: Properties


class Orders:
    """The shop's orders by id, oldest first; lost at the end of the process, after which ids and numbers go on.

    Both begin at the time of the start; a number a second is more than the guests of a shop order in the long run.
    """

    def __init__(
        self,
        demo: DemoShop,
        inventory: Inventory,
        clock: Callable[[], float],
        publish: Publish,
        *,
        max_orders: int = MAX_ORDERS,
    ) -> None:
        self._demo = demo
        self._inventory = inventory
        self._clock = clock
        self._publish = publish
        self._max_orders = max_orders
        self._by_id: OrderedDict[int, Order] = OrderedDict()
        self._ids = count(demo.number * _SPACE + int(clock() * _IDS_PER_SECOND))
        self._numbers = count(_FIRST_NUMBER + max(0, int(clock() - _NUMBERED_SINCE)))

    def find(self, order_id: int) -> Order | None:
        """The order, or None."""
        return self._by_id.get(order_id)

    def all(self) -> list[Order]:
        """All orders, oldest first."""
        return list(self._by_id.values())

    def is_readable(self, order: Order) -> bool:
        """Whether the app may read the order."""
        return order.created_at >= self._now() - REACH

    def create(
        self,
        wanted: Sequence[WantedLine],
        customer: Customer,
        note_attributes: Mapping[str, str] | None = None,
        *,
        is_test: bool = False,
        terms: Terms = SIMPLE_TERMS,
    ) -> Order:
        """Order these lines.

        Raises:
            OrderRefused: No line, too many, no piece, or a variant that the shop does not have.
        """
        if not 1 <= len(wanted) <= MAX_LINES or any(line.quantity < 1 for line in wanted):
            raise OrderRefused(f"An order has 1 to {MAX_LINES} lines of at least one piece.")
        lines = [self._line(line) for line in wanted]
        now = self._now()
        name = f"#{next(self._numbers)}"
        order = Order(
            id=next(self._ids),
            name=name,
            created_at=now,
            updated_at=now,
            customer=customer,
            note_attributes=note_attributes or {},
            lines=lines,
            is_test=is_test,
            terms=terms,
            financial_status=terms.financial_status,
        )
        self._by_id[order.id] = order
        if len(self._by_id) > self._max_orders:
            self._by_id.popitem(last=False)
        self._publish_order(order, "orders/create")
        self._publish_order(order, "orders/updated")
        self._move({line.variant_id: -line.ordered for line in lines})
        return order

    def edit(self, order: Order, line_id: int, pieces: int) -> None:
        """Add or, with a negative number, remove pieces of a line.

        Raises:
            OrderRefused: The order is cancelled, or has no such line or fewer pieces.
        """
        line = self._open_line(order, line_id)
        if not pieces or line.left + pieces < 0:
            raise OrderRefused(f"The line has {line.left} pieces.")
        line.left += pieces
        line.ordered += max(0, pieces)
        order.updated_at = self._now()
        edit = edit_payload(self._demo, order, next(self._ids), line.id, pieces)
        self._publish("orders/edited", edit, order.name)
        self._publish_order(order, "orders/updated")
        self._move({line.variant_id: -pieces})

    def refund(self, order: Order, pieces: Mapping[int, int]) -> None:
        """Take pieces back, by line item.

        Raises:
            OrderRefused: As `edit`.
        """
        lines = {line_id: self._open_line(order, line_id) for line_id in pieces}
        if not pieces or any(not 1 <= number <= lines[line_id].left for line_id, number in pieces.items()):
            raise OrderRefused("A refund has at least one piece of each line, and no more than are left.")
        self._refund(order, pieces)
        order.financial_status = "partially_refunded" if order.is_open else "refunded"
        self._publish_order(order, "orders/updated")

    def cancel(self, order: Order) -> None:
        """Cancel the order, and give back what is left of it.

        Raises:
            OrderRefused: It is cancelled already.
        """
        if order.cancelled_at:
            raise OrderRefused("The order is cancelled already.")
        if left := {line.id: line.left for line in order.lines if line.left}:
            self._refund(order, left)
        order.updated_at = order.cancelled_at = self._now()
        order.financial_status = "refunded"
        self._publish_order(order, "orders/cancelled")
        self._publish_order(order, "orders/updated")

    def settle(self, order: Order, status: str) -> None:
        """Let the payment of an unpaid order end: it is `paid`, or the authorization `voided` or `expired`.

        Raises:
            OrderRefused: It is cancelled, or not unpaid.
        """
        if order.cancelled_at or order.financial_status not in UNPAID:
            raise OrderRefused("The order is cancelled, or its payment has ended.")
        order.updated_at = self._now()
        order.financial_status = status
        self._publish_order(order, "orders/updated")

    def delete(self, order: Order) -> None:
        """Delete the order without a trace. Its stock does not come back."""
        del self._by_id[order.id]
        self._publish("orders/delete", {"id": order.id}, order.name)

    def _refund(self, order: Order, pieces: Mapping[int, int]) -> None:
        order.updated_at = self._now()
        refund = Refund(next(self._ids), order.updated_at, dict(pieces))
        order.refunds.append(refund)
        moved: dict[int, int] = {}
        for line in order.lines:
            line.left -= pieces.get(line.id, 0)
            moved[line.variant_id] = moved.get(line.variant_id, 0) + pieces.get(line.id, 0)
        self._publish("refunds/create", refund_payload(self._demo, order, refund), order.name)
        self._move(moved)

    def _publish_order(self, order: Order, topic: str) -> None:
        self._publish(topic, order_payload(self._demo, order), order.name)

    def _move(self, pieces: Mapping[int, int]) -> None:
        for variant_id, number in pieces.items():
            if number and (variant := self._inventory.find_or_deleted(variant_id)):
                self._inventory.move(variant, number)

    def _line(self, wanted: WantedLine) -> OrderLine:
        variant = self._inventory.find(wanted.variant_id)
        if variant is None:
            raise OrderRefused(f"The shop has no variant {wanted.variant_id}.")
        return OrderLine(
            id=next(self._ids),
            variant_id=variant.variant_id,
            product_id=variant.product_id,
            title=variant.product_title,
            variant_title=variant.variant_title,
            price=variant.price,
            ordered=wanted.quantity,
            left=wanted.quantity,
            properties=wanted.properties,
        )

    def _open_line(self, order: Order, line_id: int) -> OrderLine:
        line = next((line for line in order.lines if line.id == line_id), None)
        if line is None or order.cancelled_at:
            raise OrderRefused("The order is cancelled, or has no such line.")
        return line

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self._clock()), UTC)
