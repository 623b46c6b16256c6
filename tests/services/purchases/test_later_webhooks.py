"""Later webhooks and readings of an order change neither what people decided nor ordinary shopping."""

from datetime import timedelta
from typing import Any

import pytest

from deployments.sandbox.shopify.order import Customer
from deployments.sandbox.shopify.orders import WantedLine
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.webhooks import NOON, WishedItem, apply, find_items, line, message, order
from wishcraft.resources import Resources
from wishcraft.services.purchases.match import dismiss, match
from wishcraft.services.purchases.reconcile import reconcile_shop
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.store.shops import ShopRef

SOCKS = 777


@pytest.fixture
def items(demo: Demo, shop: ShopRef) -> list[WishedItem]:
    assert shop.id == 1
    return find_items(demo)


def add_item(demo: Demo, beside: WishedItem, variant_id: int, second: float) -> int:
    """Add an item to the registry of another, so many seconds after `NOON`."""
    columns = """shop_id, registry_id, product_id, inventory_item_id, handle, product_title, variant_title,
        quantity_wanted, price, currency, tracked, inventory_quantity, inventory_policy, available"""
    [(item_id,)] = demo.execute(
        f"""INSERT INTO registry_items (variant_id, created_at, {columns}) SELECT %s, %s, {columns}
            FROM registry_items WHERE id = %s RETURNING id""".encode(),  # noqa: S608  constants alone
        [variant_id, NOON + timedelta(seconds=second), beside.id],
    ).fetchall()
    return int(item_id)


def bought(demo: Demo) -> list[tuple[int, int]]:
    return demo.execute("SELECT line_item_id, item_id FROM purchases ORDER BY 1").fetchall()


def waiting(demo: Demo) -> list[int]:
    return [number for (number,) in demo.execute("SELECT line_item_id FROM unmatched_lines ORDER BY 1")]


class Order:
    """An order with a claim of its own, and the webhooks of its life."""

    def __init__(self, resources: Resources, shop: ShopRef, name: str, value: str) -> None:
        self._stores = resources, shop
        self.attributes = [{"name": name, "value": value}]

    async def becomes(self, *lines: dict[str, Any], second: int) -> None:
        payload = order(lines, second=second, note_attributes=self.attributes)
        await apply(*self._stores, handle_orders, [message("orders/updated", payload, second)])


@pytest.mark.parametrize("is_item", [False, True])
async def test_item_that_is_added_after_the_order_takes_none_of_its_lines(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], is_item: bool
) -> None:
    lamp = items[0]
    later = add_item(demo, lamp, SOCKS, 5)
    [(claim,)] = demo.execute("SELECT attribution::text FROM registry_items WHERE id = %s", [later]).fetchall()
    made = Order(
        resources, shop, *(("_registry_item", f"{lamp.claim},{claim}") if is_item else ("_registry", lamp.slug))
    )
    lines = [line(1, lamp.variant_id), line(2, SOCKS)]
    for second in (0, 10):  # the first webhook may be late, too
        await made.becomes(*lines, second=second)
        assert (bought(demo), waiting(demo)) == ([(1, lamp.id)], [])
    demo.execute("DELETE FROM orders")  # the state of an old order is deleted
    await made.becomes(*lines, second=20)
    assert (bought(demo), waiting(demo)) == ([(1, lamp.id)], [])


async def test_line_that_was_ordinary_shopping_stays_so_whatever_the_registry_becomes(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    lamp = items[0]
    made = Order(resources, shop, "_registry", lamp.slug)
    lines = [line(1, lamp.variant_id), line(2, SOCKS)]
    await made.becomes(*lines, second=0)
    add_item(demo, lamp, SOCKS, -999)  # as if another, older registry had taken the slug
    await made.becomes(*lines, second=10)
    assert (bought(demo), waiting(demo)) == ([(1, lamp.id)], [])
    demo.execute("UPDATE purchases SET item_id = NULL")
    demo.execute("DELETE FROM registry_items WHERE id = %s", [lamp.id])
    demo.execute("UPDATE orders SET judged = '{}'")
    demo.execute("DELETE FROM registry_items WHERE variant_id = %s", [SOCKS])
    await made.becomes(*lines, second=20)  # the registrant has removed what was bought: nothing is left to people
    assert waiting(demo) == []


async def test_line_that_an_edit_adds_counts_for_an_item_of_that_time(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    lamp = items[0]
    made = Order(resources, shop, "_registry", lamp.slug)
    lines = [line(1, lamp.variant_id), line(2, SOCKS)]
    await made.becomes(*lines, second=0)
    later = add_item(demo, lamp, SOCKS, 50)
    await made.becomes(*lines, line(3, SOCKS), second=100)
    assert bought(demo) == [(1, lamp.id), (3, later)]
    add_item(demo, lamp, SOCKS + 1, 500)
    await made.becomes(*lines, line(3, SOCKS), line(4, SOCKS + 1), second=200)
    assert (bought(demo), waiting(demo)) == ([(1, lamp.id), (3, later)], [])


async def test_item_that_was_removed_from_the_registry_takes_no_line_by_the_orders_claim(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    lamp = items[0]
    demo.execute("UPDATE registry_items SET status = 'hidden' WHERE id = %s", [lamp.id])
    made = Order(resources, shop, "_registry", lamp.slug)
    await made.becomes(line(1, lamp.variant_id), second=0)
    assert (bought(demo), waiting(demo)) == ([], [1])
    demo.execute("UPDATE registry_items SET status = 'active' WHERE id = %s", [lamp.id])
    await made.becomes(line(1, lamp.variant_id), second=10)
    assert (bought(demo), waiting(demo)) == ([], [1])  # a person decides


async def test_dismissed_line_stays_dismissed_and_a_matched_one_matched(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    lamp, vase = items[:2]
    made = Order(resources, shop, "_registry", lamp.slug)
    own = line(3, SOCKS, 1, vase.claim)
    lines = [line(1, SOCKS, 2), line(2, SOCKS), own]
    await made.becomes(*lines, second=0)
    assert waiting(demo) == [1, 2, 3]
    ids = [number for (number,) in demo.execute("SELECT id FROM unmatched_lines ORDER BY line_item_id")]
    await dismiss(resources, shop, ids[0], {})
    await match(resources, shop, ids[1], vase.id, {})
    await dismiss(resources, shop, ids[2], {})
    demo.execute("UPDATE registry_items SET variant_id = %s WHERE id = ANY(%s)", [SOCKS, [lamp.id, vase.id]])
    made.attributes = [{"name": "_registry_item", "value": f"{lamp.claim},{vase.claim}"}]
    lines[0] |= {"current_quantity": 1}
    await made.becomes(*lines, second=10)
    assert (bought(demo), waiting(demo)) == ([(2, vase.id)], [1, 3])
    dismissed = demo.execute("SELECT line_item_id, quantity, dismissed_at IS NOT NULL FROM unmatched_lines ORDER BY 1")
    assert dismissed.fetchall() == [(1, 1, True), (3, 1, True)]


async def test_claim_that_staff_correct_in_the_order_is_judged_anew(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    lamp = items[0]
    made = Order(resources, shop, "_registry", "mistyped")
    await made.becomes(line(1, lamp.variant_id), second=0)
    assert waiting(demo) == [1]
    made.attributes = [{"name": "_registry", "value": lamp.slug}]
    await made.becomes(line(1, lamp.variant_id), second=10)
    assert (bought(demo), waiting(demo)) == ([(1, lamp.id)], [])


async def test_reading_of_orders_judges_them_as_webhooks_do(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], simulator: Simulator
) -> None:
    lamp = items[0]
    sold = simulator.shops[shop.domain]
    other = next(each for each in sold.inventory.variant_ids() if each != lamp.variant_id)
    demo.execute("DELETE FROM registry_items WHERE variant_id = %s", [other])
    demo.execute("UPDATE shops SET installed_at = now() - interval '1 day', orders_read_until = NULL")
    lines = [WantedLine(lamp.variant_id, 1, {}), WantedLine(other, 1, {})]
    made = sold.orders.create(lines, Customer(1, "Ada", "Byron", "ada@example.com"), {"_registry": lamp.slug})
    ordered_at = made.created_at - NOON
    add_item(demo, lamp, other, ordered_at.total_seconds() + 60)
    assert (await reconcile_shop(resources, shop))["missed"] == 1
    assert bought(demo) == [(made.lines[0].id, lamp.id)]
    sold.orders.edit(made, made.lines[0].id, 1)
    await reconcile_shop(resources, shop)
    assert (bought(demo), waiting(demo)) == ([(made.lines[0].id, lamp.id)], [])
