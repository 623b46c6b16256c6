"""Orders beside each other: one batch is paused before each exchange with PostgreSQL."""

from functools import partial
from itertools import count

from tests.support.aliases import Demo
from tests.support.paused_statements import pauses, run_beside
from tests.support.webhooks import WishedItem, apply, find_items, line, message, order
from wishcraft.resources import Resources
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.store.shops import ShopRef


def buy_and_name(number: int, bought: WishedItem, named: WishedItem) -> list[Message]:
    """An order of one item, and one of something else by a guest who came from another registry."""
    attributes = [{"name": "_registry", "value": named.slug}]
    gift = order([line(number, bought.variant_id, claim=bought.claim)], number=number)
    shopping = order([line(number + 1, 1)], number=number + 1, note_attributes=attributes)
    return [message("orders/create", gift), message("orders/create", shopping)]


async def test_batches_that_buy_from_and_name_the_same_registries_are_no_deadlock(
    demo: Demo, resources: Resources, shop: ShopRef
) -> None:
    first, second, *_ = find_items(demo)
    for number in count():
        order_id = 90_000 + 10 * number
        batches = buy_and_name(order_id, first, second), buy_and_name(order_id + 5, second, first)
        handle = partial(apply, resources, shop, handle_orders)
        with pauses():
            was_reached = await run_beside(demo, number, *(partial(handle, batch) for batch in batches))
        claims = "SELECT order_id, claim FROM unmatched_lines WHERE order_id >= %s ORDER BY 1"
        named = [(order_id + 1, second.slug), (order_id + 6, first.slug)]
        assert demo.execute(claims, [order_id]).fetchall() == named
        if not was_reached:
            assert number > 2
            return
