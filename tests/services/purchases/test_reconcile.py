"""Reconciliation applies what no webhook has brought, once, and beside the consumers of webhooks."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.order import Customer, Order
from deployments.sandbox.shopify.orders import OrderRefused, WantedLine
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.hypothesis_profiles import examples
from tests.support.webhooks import WishedItem, apply, find_items
from wishcraft.errors import RunStopped
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import MAX_EXAMPLES, Changes
from wishcraft.services.purchases.reconcile import OVERDUE, reconcile_shop
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.shopify.order_payloads import read_order
from wishcraft.shopify.orders import read_changed_orders
from wishcraft.store import locks, shops
from wishcraft.store.shops import ShopRef

ADA = Customer(1, "Ada", "Byron", "ada@example.com")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def clean(demo: Demo) -> list[WishedItem]:
    """Items of different registries, without purchases, of a shop whose orders were never read."""
    demo.execute("UPDATE shops SET installed_at = %s, orders_read_until = NULL", [LONG_AGO])
    return find_items(demo)


@pytest.fixture
def items(demo: Demo) -> list[WishedItem]:
    return clean(demo)


class Store:
    """The simulated shop, and the webhooks that it would have sent."""

    def __init__(self, simulator: Simulator) -> None:
        self.shop: SimulatedShop = next(iter(simulator.shops.values()))
        self.sent: list[Message] = []
        self.shop.orders._publish = self._record
        self._events = 0

    def _record(self, topic: str, payload: dict[str, Any], _description: str) -> None:
        self._events += 1
        now = datetime.now(UTC)
        self.sent.append(Message(self._events, topic, now, now, payload))

    def buy(self, item: WishedItem, quantity: int = 1, **values: Any) -> Order:
        line = WantedLine(item.variant_id, quantity, {"_registry_item": item.claim})
        return self.shop.orders.create([line], ADA, **values)


@pytest.fixture
def store(simulator: Simulator) -> Store:
    return Store(simulator)


def state(demo: Demo) -> list[list[tuple[Any, ...]]]:
    """The rows that orders change, apart from times."""
    queries = (
        "SELECT line_item_id, item_id, quantity, status, unit_price, purchaser_name FROM purchases ORDER BY 1",
        "SELECT line_item_id, quantity, status, claim, reason FROM unmatched_lines ORDER BY 1",
        "SELECT id, quantity_purchased FROM registry_items WHERE quantity_purchased > 0 ORDER BY 1",
        "SELECT order_id FROM orders ORDER BY 1",
    )
    return [demo.execute(query.encode()).fetchall() for query in queries]


def awaited(demo: Demo) -> int:
    return len(demo.execute("SELECT FROM orders WHERE awaited_since IS NOT NULL").fetchall())


async def test_missed_orders_are_applied_once_and_counted(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], store: Store
) -> None:
    first, second = store.buy(items[0], 3), store.buy(items[1], 2)
    store.buy(items[0], is_test=True)
    store.shop.orders.refund(first, {first.lines[0].id: 1})
    store.shop.orders.cancel(second)
    dry = await reconcile_shop(resources, shop, dry_run=True)
    assert dry == {"orders": 3, "missed": 2, "deleted": 0, "overdue": 0, "unreadable": 0}
    assert state(demo) == [[], [], [], []]
    assert await reconcile_shop(resources, shop) == dry
    bought = demo.execute("SELECT quantity, status, purchaser_name FROM purchases ORDER BY line_item_id").fetchall()
    assert bought == [(2, "confirmed", "Ada Byron"), (2, "cancelled", "Ada Byron")]
    again = await reconcile_shop(resources, shop)
    assert again == {"orders": 3, "missed": 0, "deleted": 0, "overdue": 0, "unreadable": 0}


async def test_reading_of_an_order_is_that_of_its_webhook(
    resources: Resources, shop: ShopRef, items: list[WishedItem], store: Store
) -> None:
    lines = [WantedLine(item.variant_id, 2, {"_registry_item": item.claim, "_gift_message": "Ü"}) for item in items * 4]
    order = store.shop.orders.create(lines, ADA, {"_registry": "a-slug", "_registry_item": "x, y"})
    assert len(order.lines) > 10  # more than a page
    store.shop.orders.edit(order, order.lines[-1].id, -1)
    store.shop.orders.refund(order, {order.lines[0].id: 2})
    now = datetime.now(UTC)
    pages = [page async for page in read_changed_orders(resources.shopify, shop.domain, LONG_AGO, now)]
    [(read_at, [payload])] = pages
    assert now <= read_at
    assert read_order(payload) == read_order({**store.sent[-1].payload, "customer": None})


async def test_webhooks_that_come_later_change_nothing_and_are_awaited_no_longer(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], store: Store
) -> None:
    order = store.buy(items[0], 4)
    store.shop.orders.edit(order, order.lines[0].id, 2)
    store.shop.orders.refund(order, {order.lines[0].id: 1})
    await reconcile_shop(resources, shop)
    reconciled = state(demo)
    assert reconciled[2] == [(items[0].id, 5)]
    assert awaited(demo) == 1
    for message in store.sent:
        await apply(resources, shop, handle_orders, [message])
        assert state(demo) == reconciled
    assert awaited(demo) == 0
    assert (await reconcile_shop(resources, shop))["missed"] == 0


async def test_second_change_within_a_second_is_found_although_its_webhook_is_lost(
    resources: Resources,
    demo: Demo,
    shop: ShopRef,
    items: list[WishedItem],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = float(int(datetime.now(UTC).timestamp()))
    monkeypatch.setattr(store.shop.orders, "_clock", lambda: second)
    order = store.buy(items[0], 4)
    await apply(resources, shop, handle_orders, list(store.sent))
    store.shop.orders.refund(order, {order.lines[0].id: 1})
    assert state(demo)[2] == [(items[0].id, 4)]
    await reconcile_shop(resources, shop)
    assert state(demo)[2] == [(items[0].id, 3)]


async def test_webhook_that_does_not_come_in_four_hours_is_counted_once(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for hours in (5, 3):
        moment = (datetime.now(UTC) - timedelta(hours=hours)).timestamp()
        monkeypatch.setattr(store.shop.orders, "_clock", lambda moment=moment: moment)
        store.buy(items[0])
    assert (await reconcile_shop(resources, shop)) == {
        "orders": 2,
        "missed": 2,
        "deleted": 0,
        "overdue": 1,
        "unreadable": 0,
    }
    assert (await reconcile_shop(resources, shop))["overdue"] == 0
    demo.execute("UPDATE orders SET awaited_since = awaited_since - interval '2 hours'")
    assert (await reconcile_shop(resources, shop))["overdue"] == 1
    await resources.counters.flush()
    [series] = (await resources.counters.read())["webhooks_overdue_total"]
    assert (series.labels, series.value) == ((shop.domain,), 2)
    assert timedelta(hours=4) == OVERDUE


async def test_orders_from_before_the_installation_are_applied_and_no_webhook_is_awaited(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], store: Store
) -> None:
    store.buy(items[0])
    demo.execute("UPDATE shops SET installed_at = now() + interval '1 hour'")
    assert (await reconcile_shop(resources, shop))["orders"] == 0  # a regular run begins at the installation
    since = datetime.now(UTC) - timedelta(days=3)
    counts = await reconcile_shop(resources, shop, since=since)
    assert (counts["orders"], awaited(demo)) == (1, 0)
    assert state(demo)[2] == [(items[0].id, 1)]


async def test_regular_runs_read_since_the_last_one_and_others_leave_that_alone(
    resources: Resources,
    demo: Demo,
    shop: ShopRef,
    items: list[WishedItem],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = datetime.now(UTC)
    for age in (timedelta(days=59), timedelta(hours=3), timedelta(minutes=1)):
        monkeypatch.setattr(store.shop.orders, "_clock", (now - age).timestamp)
        store.buy(items[0])

    async def orders_read(since: datetime | None = None, until: datetime | None = None) -> int:
        counts = await reconcile_shop(resources, shop, since=since, until=until, dry_run=since is None)
        return counts["orders"]

    assert await orders_read() == 3  # the first run goes back as far as it can
    demo.execute("UPDATE shops SET orders_read_until = %s", [now - timedelta(hours=1)])
    assert await orders_read() == 1
    demo.execute("UPDATE shops SET orders_read_until = %s", [now - timedelta(hours=2, minutes=50)])
    assert await orders_read() == 2  # with an overlap
    assert await orders_read(since=now - timedelta(days=90)) == 3
    assert await orders_read(since=now - timedelta(days=60), until=now - timedelta(days=1)) == 1
    [(until,)] = demo.execute("SELECT orders_read_until FROM shops WHERE id = 1").fetchall()
    assert until == now - timedelta(hours=2, minutes=50)
    await reconcile_shop(resources, shop)
    [(until,)] = demo.execute("SELECT orders_read_until FROM shops WHERE id = 1").fetchall()
    assert until >= now
    assert demo.execute("SELECT count(*) FROM shops WHERE orders_read_until > %s", [now]).fetchall() == [(1,)]


async def test_run_that_is_stopped_or_fails_is_continued_where_it_was(
    resources: Resources,
    demo: Demo,
    shop: ShopRef,
    items: list[WishedItem],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = datetime.now(UTC)
    for minute in range(40):
        monkeypatch.setattr(store.shop.orders, "_clock", (now - timedelta(hours=9, minutes=-10 * minute)).timestamp)
        store.buy(items[minute % len(items)])
    changes = Changes()

    async def stop(done: int, _total: int) -> None:
        if done >= 15:
            raise RunStopped

    with pytest.raises(RunStopped):
        await reconcile_shop(resources, shop, checkpoint=stop, changes=changes)
    assert (changes["missed"], len(state(demo)[0])) == (15, 15)
    assert len(changes.examples["orders that no webhook brought"]) == MAX_EXAMPLES + 1  # the summary says "and more"
    counts = await reconcile_shop(resources, shop, changes=changes)
    assert 25 <= counts["orders"] <= 27  # the overlap is read again
    assert (counts["missed"], len(state(demo)[0])) == (40, 40)


async def test_order_that_cannot_be_read_stops_no_other(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], store: Store
) -> None:
    broken = store.buy(items[0])
    broken.lines[0].left = -1
    store.buy(items[1])
    counts = await reconcile_shop(resources, shop)
    assert counts == {"orders": 2, "missed": 1, "deleted": 0, "overdue": 0, "unreadable": 1}
    assert state(demo)[2] == [(items[1].id, 1)]


async def test_orders_are_read_without_names_if_the_app_may_not_see_them(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], store: Store
) -> None:
    store.shop.faults.set(Fault(FaultKind.PROTECTED_DATA, remaining=None))
    for _ in range(20):
        store.buy(items[0])
    assert (await reconcile_shop(resources, shop))["missed"] == 20
    people = demo.execute("SELECT DISTINCT purchaser_name, purchaser_email FROM purchases").fetchall()
    assert people == [(None, None)]
    assert store.shop.counters.requests == 3  # the first page once more, and no other


async def test_throttled_reading_waits_for_points_and_reads_everything(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], store: Store
) -> None:
    for _ in range(20):
        store.buy(items[0])
    store.shop.faults.set(Fault(FaultKind.TOO_MANY_REQUESTS, remaining=1))
    store.shop.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=1))
    assert (await reconcile_shop(resources, shop))["missed"] == 20
    assert state(demo)[2] == [(items[0].id, 20)]
    assert store.shop.counters.points_spent < 20 * 15


async def test_other_shops_are_left_alone_and_a_shop_is_reconciled_by_one_run_at_a_time(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], simulator: Simulator, store: Store
) -> None:
    other = list(simulator.shops.values())[1]
    other.orders.create([WantedLine(other.inventory.variant_ids()[0], 1, {"_registry_item": items[0].claim})], ADA)
    assert store.shop is not other
    async with resources.db.repeatable_read() as session:
        neighbour = await shops.find_one(session, 2)
    assert (await reconcile_shop(resources, shop))["orders"] == 0
    async with locks.try_acquire(resources.db, "reconcile", shop.id) as locked:
        assert locked
        assert await reconcile_shop(resources, shop) == {"already_being_reconciled": 1}
        assert (await reconcile_shop(resources, neighbour))["missed"] == 1
    assert demo.execute("SELECT shop_id FROM unmatched_lines").fetchall() == [(2,)]  # the item is another shop's
    assert state(demo)[2] == []


@pytest.mark.parametrize("rounds", [3, pytest.param(12, marks=pytest.mark.deep)])
async def test_runs_and_consumers_may_apply_the_same_orders_at_once(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], store: Store, rounds: int
) -> None:
    async def consume(messages: list[Message]) -> None:
        for message in messages:
            await apply(resources, shop, handle_orders, [message])

    for _ in range(rounds):
        orders = [store.buy(item, 3) for item in items]
        for number, order in enumerate(orders):
            store.shop.orders.edit(order, order.lines[0].id, 1)
            store.shop.orders.refund(order, {order.lines[0].id: 1 + number % 3})
        await asyncio.gather(consume(store.sent[::2]), reconcile_shop(resources, shop), consume(store.sent[1::2]))
    together = state(demo)
    clean(demo)
    await consume(store.sent)
    assert together == state(demo)
    assert len(together[0]) == rounds * len(items)


STEPS = st.lists(
    st.tuples(st.sampled_from(["buy", "edit", "refund", "cancel"]), st.integers(0, 3), st.integers(-2, 3)),
    min_size=1,
    max_size=8,
)


def act(store: Store, items: list[WishedItem], made: list[Order], step: tuple[str, int, int]) -> None:
    what, which, number = step
    try:
        if what == "buy" or not made:
            made.append(store.buy(items[which % len(items)], abs(number) + 1))
            return
        order = made[which % len(made)]
        if what == "edit":
            store.shop.orders.edit(order, order.lines[0].id, number)
        elif what == "refund":
            store.shop.orders.refund(order, {order.lines[0].id: abs(number)})
        else:
            store.shop.orders.cancel(order)
    except OrderRefused:
        pass


@pytest.mark.hypothesis
@pytest.mark.long
def test_whichever_webhooks_are_lost_reconciliation_ends_as_if_all_had_come_in_order(
    runner: asyncio.Runner, resources_of_runner: Resources, shop_of_runner: ShopRef, demo: Demo, simulator: Simulator
) -> None:
    resources, shop = resources_of_runner, shop_of_runner

    async def deliver(batches: list[list[Message]]) -> None:
        for batch in batches:
            await apply(resources, shop, handle_orders, batch)

    simulator.shops[shop.domain].bucket.enabled = False

    @hypothesis.settings(max_examples=examples(quick=12, deep=100), suppress_health_check=list(HealthCheck))
    @given(before=STEPS, after=STEPS, data=st.data())
    def lose(before: list[tuple[str, int, int]], after: list[tuple[str, int, int]], data: st.DataObject) -> None:
        items, store, made = clean(demo), Store(simulator), list[Order]()
        simulator.shops[shop.domain].orders._by_id.clear()
        for step in before:
            act(store, items, made, step)
        come = data.draw(st.permutations(store.sent))[: data.draw(st.integers(0, len(store.sent)))]
        runner.run(deliver([[each] for each in come]))
        if data.draw(st.booleans()):
            runner.run(reconcile_shop(resources, shop))
        known = len(store.sent)
        for step in after:
            act(store, items, made, step)
        late = [each for each in store.sent[:known] if each not in come] + store.sent[known:]
        come = data.draw(st.permutations(late))[: data.draw(st.integers(0, len(late)))]
        runner.run(deliver([come] if come else []))
        runner.run(reconcile_shop(resources, shop))
        reconciled = state(demo)
        clean(demo)
        runner.run(deliver([[each] for each in store.sent]))
        assert reconciled == state(demo)

    lose()
