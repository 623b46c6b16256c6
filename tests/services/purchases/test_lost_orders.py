"""Orders that were deleted or never paid count no more, and one that PostgreSQL refuses stops no other."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from deployments.sandbox.shopify.order import Customer, Order, Terms
from deployments.sandbox.shopify.orders import WantedLine
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.webhooks import NOON, WishedItem, apply, find_items, line, message, order, refund
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import PayloadInvalid
from wishcraft.resources import Resources
from wishcraft.services.purchases import reconcile
from wishcraft.services.purchases.reconcile import REACH, reconcile_shop
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.store.shops import ShopRef

STATUSES = "SELECT status FROM purchases UNION ALL SELECT status FROM unmatched_lines"


@pytest.fixture
def items(demo: Demo, shop: ShopRef) -> list[WishedItem]:
    demo.execute("UPDATE shops SET installed_at = %s, orders_read_until = NULL", [NOON])
    return find_items(demo, shop.id)


@pytest.fixture
def sold(simulator: Simulator, shop: ShopRef) -> SimulatedShop:
    return simulator.shops[shop.domain]


def buy(sold: SimulatedShop, item: WishedItem, terms: Terms = Terms()) -> Order:  # noqa: B008  immutable
    lines = [WantedLine(item.variant_id, 1, {"_registry_item": item.claim})]
    return sold.orders.create(lines, Customer(1, "Ada", "Byron", "ada@example.com"), terms=terms)


def counted(demo: Demo) -> list[tuple[Any, ...]]:
    query = "SELECT id, quantity_purchased FROM registry_items WHERE quantity_purchased > 0 ORDER BY id"
    return demo.execute(query).fetchall()


async def test_deleted_order_gives_back_everything_in_whatever_order_its_webhooks_come(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    lines = [line(1, items[0].variant_id, 3, items[0].claim), line(2, 5, 1, "no attribution")]
    life = [
        message("orders/create", order(lines), 0.5),
        message("refunds/create", refund(7, 1, 1, second=3), 3),
        message("orders/delete", {"id": 9001}, 5.2),
        message("orders/updated", order(lines, second=5), 5.1),
    ]
    for shuffled in permutations(life):
        find_items(demo)
        for each in shuffled:
            await apply(resources, shop, handle_orders, [each])
        assert counted(demo) == []
        assert {status for (status,) in demo.execute(STATUSES)} <= {"cancelled"}
    find_items(demo)
    outcomes = await apply(resources, shop, handle_orders, life)
    assert outcomes[life[2].id] is WebhookOutcome.APPLIED
    assert (counted(demo), demo.execute(STATUSES).fetchall()) == ([], [])


async def test_deletion_without_a_sensible_time_counts_from_its_receipt(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    bought = line(1, items[0].variant_id, 1, items[0].claim)
    await apply(resources, shop, handle_orders, [message("orders/create", order([bought]))])
    for triggered_at in (None, NOON + 2 * REACH):
        await apply(
            resources, shop, handle_orders, [Message(1, "orders/delete", triggered_at, NOON + REACH, {"id": 9001})]
        )
        assert counted(demo) == []
        [(deleted_at,)] = demo.execute("SELECT updated_at FROM orders").fetchall()
        assert deleted_at == NOON + REACH


@pytest.mark.parametrize("payload", [{}, {"id": None}, {"id": "9001"}, order([])])
async def test_what_names_no_order_or_describes_one_is_no_deletion(
    resources: Resources, shop: ShopRef, items: list[WishedItem], payload: dict[str, Any]
) -> None:
    with pytest.raises(PayloadInvalid):
        await apply(resources, shop, handle_orders, [message("orders/delete", payload)])


@pytest.mark.parametrize("status", ["expired", "voided"])
async def test_payment_that_never_comes_gives_back_until_another_does(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], status: str
) -> None:
    bought = [line(1, items[0].variant_id, 2, items[0].claim)]
    seen = []
    for second, now in enumerate(("authorized", status, "paid")):
        payload = order(bought, second=second, financial_status=now)
        await apply(resources, shop, handle_orders, [message("orders/updated", payload, second)])
        seen.append(counted(demo))
    assert seen == [[(items[0].id, 2)], [], [(items[0].id, 2)]]


async def test_orders_that_shopify_has_no_more_are_found_and_give_back(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], sold: SimulatedShop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    monkeypatch.setattr(sold.orders, "_clock", (now - timedelta(hours=2)).timestamp)
    kept, deleted = buy(sold, items[0]), buy(sold, items[1])
    monkeypatch.setattr(sold.orders, "_clock", (now - timedelta(seconds=1)).timestamp)
    young = buy(sold, items[2])
    assert (await reconcile_shop(resources, shop))["deleted"] == 0
    for each in (deleted, young):
        sold.orders.delete(each)
    assert (await reconcile_shop(resources, shop, since=now - timedelta(days=1)))["deleted"] == 0  # regular runs ask
    assert (await reconcile_shop(resources, shop, dry_run=True))["deleted"] == 1
    assert len(counted(demo)) == 3
    assert (await reconcile_shop(resources, shop))["deleted"] == 1
    assert sorted(counted(demo)) == sorted([(items[0].id, 1), (items[2].id, 1)])
    assert (await reconcile_shop(resources, shop))["deleted"] == 0
    assert (
        demo.execute("SELECT FROM orders WHERE order_id = %s AND awaited_since > %s", [deleted.id, now]).rowcount == 0
    )
    demo.execute("UPDATE orders SET ordered_at = now() - interval '61 days'")  # Shopify says so of all old orders
    sold.orders.delete(kept)
    assert (await reconcile_shop(resources, shop))["deleted"] == 0


async def test_one_wrong_answer_of_shopify_gives_nothing_back(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], sold: SimulatedShop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sold.orders, "_clock", (datetime.now(UTC) - timedelta(hours=2)).timestamp)
    bought = buy(sold, items[0])
    assert (await reconcile_shop(resources, shop))["deleted"] == 0
    answers = [[bought.id], []]

    async def find(*_: object) -> list[int]:
        return answers.pop(0)

    monkeypatch.setattr(reconcile, "find_deleted_orders", find)
    assert (await reconcile_shop(resources, shop))["deleted"] == 0
    assert (answers, counted(demo)) == ([], [(items[0].id, 1)])


async def test_each_run_asks_about_those_orders_that_were_asked_about_longest_ago(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], sold: SimulatedShop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sold.orders, "_clock", (datetime.now(UTC) - timedelta(hours=2)).timestamp)
    made = [buy(sold, items[0]) for _ in range(5)]
    await reconcile_shop(resources, shop, orders_per_query=2)
    for each in made:
        sold.orders.delete(each)
    counts = [await reconcile_shop(resources, shop, orders_per_query=2) for _ in range(4)]
    assert [each["deleted"] for each in counts] == [2, 2, 1, 0]
    assert counted(demo) == []


async def test_order_with_a_value_that_postgresql_refuses_stops_no_other(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], sold: SimulatedShop,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    made = [buy(sold, items[number]) for number in range(3)]
    demo.execute(
        f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.order_name = '{made[1].name}' THEN RAISE 'refused' USING ERRCODE = 'data_exception'; END IF;
            RETURN NEW; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON purchases FOR EACH ROW EXECUTE FUNCTION refuse()""".encode()
    )
    try:
        counts = await reconcile_shop(resources, shop)
    finally:
        demo.execute("DROP FUNCTION refuse CASCADE")
    assert counts == {"orders": 3, "missed": 2, "deleted": 0, "overdue": 0, "unreadable": 1}
    assert sorted(counted(demo)) == sorted([(items[0].id, 1), (items[2].id, 1)])
    assert f"refuses a value of the order {made[1].id}" in caplog.text
    [(until,)] = demo.execute("SELECT orders_read_until FROM shops WHERE id = %s", [shop.id]).fetchall()
    assert until >= made[2].updated_at
