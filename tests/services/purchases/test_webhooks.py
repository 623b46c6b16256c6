"""Orders, refunds and edits become the purchases of items, in any order and however often they come."""

import asyncio
from typing import Any
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from sqlalchemy import event

from tests.support.aliases import Demo
from tests.support.hypothesis_profiles import examples
from tests.support.webhooks import (
    WishedItem,
    apply,
    edit,
    find_items,
    life_of_an_order,
    line,
    message,
    order,
    order_state,
    refund,
)
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import PayloadInvalid
from wishcraft.resources import Resources
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.store.shops import ShopRef


@pytest.fixture
def items(demo: Demo, shop: ShopRef) -> list[WishedItem]:
    assert shop.id == 1
    return find_items(demo)


def purchased(demo: Demo, item: WishedItem) -> int:
    [(pieces,)] = demo.execute("SELECT quantity_purchased FROM registry_items WHERE id = %s", [item.id]).fetchall()
    return int(pieces)


async def test_order_is_recorded_in_the_shops_currency_and_shown_at_once(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    item = items[0]
    reader = RegistryReader(resources)
    before = (await reader.read(shop.id, item.slug)).entry.header.version
    payload = order([line(1, item.variant_id, 2, item.claim, price="9900.00"), line(2, item.variant_id + 1)])
    assert await apply(resources, shop, handle_orders, [message("orders/create", payload)])
    columns = "item_id, order_name, quantity, unit_price::text, purchaser_name, purchaser_email, status"
    assert demo.execute(f"SELECT {columns} FROM purchases".encode()).fetchall() == [  # noqa: S608
        (item.id, "#9001", 2, "12.5000", "Ada Byron", "gast@example.com", "confirmed")
    ]
    entry = (await reader.read(shop.id, item.slug)).entry
    assert entry.header.version == before + 1
    assert f'"id":{item.id}' in entry.body.decode()
    assert purchased(demo, item) == 2


async def test_what_a_guest_said_about_a_gift_is_kept_and_an_anonymous_one_has_no_name(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    said = [
        {"name": "_registry_item", "value": items[0].claim},
        {"name": "_gift_message", "value": "All\u0000 the\nbest"},
        {"name": "_purchaser_name", "value": "Grandma"},
    ]
    hidden = [*said[:2], {"name": "_is_anonymous", "value": "true"}]
    lines = [
        line(1, items[0].variant_id, properties=said),
        line(2, items[0].variant_id, properties=hidden),
    ]
    await apply(resources, shop, handle_orders, [message("orders/create", order(lines))])
    assert demo.execute(
        "SELECT purchaser_name, anonymous, gift_message FROM purchases ORDER BY line_item_id"
    ).fetchall() == [("Grandma", False, "All the best"), (None, True, "All the best")]


async def test_order_is_the_last_event_of_its_guests_visit_however_often_it_comes(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    demo.execute("DELETE FROM analytics_events")
    lines = [line(number, item.variant_id, 1, item.claim) for number, item in enumerate(items[:3], 1)]
    for each, visitor in zip(lines[:2], ("b7c1d2", "no id"), strict=True):
        each["properties"].append({"name": "_registry_visitor", "value": visitor})
    created = message("orders/create", order(lines))
    voided = order([line(9, items[3].variant_id, 1, items[3].claim)], number=9002, financial_status="voided")
    for batch in ([created, message("orders/create", voided)], [created], [message("refunds/create", refund(1, 1, 1))]):
        await apply(resources, shop, handle_orders, batch)
    found = demo.execute("SELECT type, visitor_id, (data ->> 'item_id')::bigint FROM analytics_events").fetchall()
    visitors = ("b7c1d2", "order-9001", "order-9001")
    assert sorted(found) == sorted(("purchased", *pair) for pair in zip(visitors, (i.id for i in items), strict=False))


@pytest.mark.parametrize(
    ("status", "recorded"),
    [
        ("pending", "pending"), ("authorized", "pending"), ("paid", "confirmed"), ("partially_paid", "confirmed"),
        ("partially_refunded", "confirmed"), ("voided", "cancelled"), (None, "confirmed"), ([], "confirmed"),
    ],
)  # fmt: skip
async def test_payment_decides_the_status(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], status: object, recorded: str
) -> None:
    payload = order([line(1, items[0].variant_id, 2, items[0].claim)], financial_status=status)
    await apply(resources, shop, handle_orders, [message("orders/create", payload)])
    assert demo.execute("SELECT status FROM purchases").fetchall() == [(recorded,)]
    assert purchased(demo, items[0]) == (0 if recorded == "cancelled" else 2)


async def test_test_orders_are_ignored(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    sent = message("orders/create", order([line(1, items[0].variant_id, 1, items[0].claim)], test=True))
    assert await apply(resources, shop, handle_orders, [sent]) == {sent.id: WebhookOutcome.IGNORED}
    assert order_state(demo) == [[], [], [], []]


async def test_order_may_name_its_items_or_its_registry_in_note_attributes(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    first, second = items[:2]
    named = [{"name": "_registry_item", "value": f"{uuid4()}, {first.claim}"}]
    slug = [{"name": "_registry", "value": second.slug}]
    await apply(
        resources,
        shop,
        handle_orders,
        [
            message("orders/create", order([line(1, first.variant_id), line(2, 5)], note_attributes=named)),
            message("orders/create", order([line(3, second.variant_id)], number=9002, note_attributes=slug)),
        ],
    )
    found = demo.execute("SELECT line_item_id, item_id FROM purchases ORDER BY 1").fetchall()
    assert found == [(1, first.id), (3, second.id)]
    assert demo.execute("SELECT FROM unmatched_lines").fetchall() == []


async def test_claim_that_fits_no_item_is_left_for_people_and_other_lines_are_not(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    [foreign, *_] = find_items(demo, 2)
    find_items(demo)
    item = items[0]
    lines = [
        line(1, item.variant_id, 1, str(uuid4())),
        line(2, item.variant_id + 1, 1, item.claim),
        line(3, None, 1, item.claim),
        line(4, foreign.variant_id, 1, foreign.claim),
        line(5, item.variant_id, 1, "no attribution"),
        line(6, item.variant_id),
    ]
    await apply(resources, shop, handle_orders, [message("orders/create", order(lines))])
    assert demo.execute("SELECT FROM purchases").fetchall() == []
    assert [number for (number,) in demo.execute("SELECT line_item_id FROM unmatched_lines ORDER BY 1")] == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert all(purchased(demo, each) == 0 for each in (item, foreign))


async def test_refund_and_cancellation_give_back(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    item = items[0]
    lines = [line(1, item.variant_id, 3, item.claim)]

    async def send(topic: str, payload: dict[str, Any], second: int) -> tuple[int, str]:
        await apply(resources, shop, handle_orders, [message(topic, payload, second)])
        [(status,)] = demo.execute("SELECT status FROM purchases").fetchall()
        return purchased(demo, item), status

    assert await send("orders/create", order(lines), 0) == (3, "confirmed")
    assert await send("refunds/create", refund(5, 1, 1, second=10), 10) == (2, "confirmed")
    assert await send("refunds/create", refund(5, 1, 1, second=10), 10) == (2, "confirmed")
    lines[0]["current_quantity"] = 2
    assert await send("orders/updated", order(lines, second=10, refunds=[refund(5, 1, 1)]), 11) == (2, "confirmed")
    assert await send("orders/edited", edit(6, 1, -1, second=20), 20) == (1, "confirmed")
    assert await send("refunds/create", refund(7, 1, 1, second=30), 30) == (0, "refunded")
    cancelled = order(lines, second=40, cancelled_at="2026-03-14T12:00:40+00:00")
    assert await send("orders/cancelled", cancelled, 40) == (0, "cancelled")
    assert await send("orders/updated", order(lines, second=5), 50) == (0, "cancelled")  # older


async def test_refund_of_an_order_whose_state_was_deleted_gives_back_once(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    item = items[0]
    lines = [line(1, item.variant_id, 3, item.claim)]
    await apply(resources, shop, handle_orders, [message("orders/create", order(lines))])
    demo.execute("DELETE FROM orders")
    refunded = refund(5, 1, 2, second=10)
    for _ in range(2):
        await apply(resources, shop, handle_orders, [message("refunds/create", refunded, 10)])
        assert purchased(demo, item) == 1
    lines[0]["current_quantity"] = 1
    newest = order(lines, second=10, refunds=[refunded])
    await apply(resources, shop, handle_orders, [message("orders/updated", newest, 11)])
    assert purchased(demo, item) == 1


async def test_order_that_a_cleanup_deletes_meanwhile_is_handled_all_the_same(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    item = items[0]
    lines = [line(1, item.variant_id, 3, item.claim)]
    await apply(resources, shop, handle_orders, [message("orders/create", order(lines))])

    def clean(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "INSERT INTO orders" in statement:
            demo.execute("DELETE FROM orders WHERE ctid = ANY(ARRAY(SELECT ctid FROM orders FOR UPDATE SKIP LOCKED))")

    lines[0]["current_quantity"] = 1
    engine = resources.db.engine.sync_engine
    event.listen(engine, "after_cursor_execute", clean)
    try:
        await apply(resources, shop, handle_orders, [message("orders/updated", order(lines, second=10), 10)])
    finally:
        event.remove(engine, "after_cursor_execute", clean)
    assert purchased(demo, item) == 1


async def test_more_may_be_bought_than_is_wanted(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    payload = order([line(1, items[0].variant_id, 1000, items[0].claim)])
    await apply(resources, shop, handle_orders, [message("orders/create", payload)])
    assert purchased(demo, items[0]) == 1000


async def test_purchase_outlives_its_registry_without_names_when_the_order_changes(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem]
) -> None:
    lines = [line(1, items[0].variant_id, 2, items[0].claim)]
    await apply(resources, shop, handle_orders, [message("orders/create", order(lines))])
    demo.execute("UPDATE purchases SET item_id = NULL, purchaser_name = NULL, purchaser_email = NULL")
    demo.execute("DELETE FROM registries WHERE slug = %s", [items[0].slug])
    lines[0]["current_quantity"] = 1
    await apply(resources, shop, handle_orders, [message("orders/updated", order(lines, second=9))])
    assert demo.execute("SELECT item_id, quantity, purchaser_name, purchaser_email FROM purchases").fetchall() == [
        (None, 1, None, None)
    ]
    assert demo.execute("SELECT FROM unmatched_lines").fetchall() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None}, {"id": True}, {"id": 2**63}, {"id": "9001"}, {"updated_at": None}, {"updated_at": "yesterday"},
        {"updated_at": "2026-03-14T12:00:00"}, {"line_items": [7]}, {"line_items": [{"id": 1, "quantity": -1}]},
        {"line_items": [line(1, 1, price_set=None, price="NaN")]}, {"line_items": [line(1, 1, quantity=10**9)]},
        {"line_items": [line(1, 1, price_set=None, price="1e30")]}, {"refunds": [{"id": 0}]}, {"refunds": ["x"]},
    ],
)  # fmt: skip
async def test_payload_that_cannot_be_read_is_refused_as_a_whole(
    resources: Resources, demo: Demo, shop: ShopRef, changes: dict[str, Any]
) -> None:
    find_items(demo)
    with pytest.raises(PayloadInvalid):
        await apply(resources, shop, handle_orders, [message("orders/create", order([]) | changes)])


async def test_order_of_500_lines_costs_a_fixed_number_of_queries(
    resources: Resources, demo: Demo, shop: ShopRef, items: list[WishedItem], queries: list[str]
) -> None:
    numbers = []
    for size in (1, 500):
        queries.clear()
        lines = [line(size * 1000 + number, items[0].variant_id, 1, items[0].claim) for number in range(size)]
        await apply(resources, shop, handle_orders, [message("orders/create", order(lines, number=size))])
        numbers.append(len(queries))
    assert numbers[0] == numbers[1]
    assert purchased(demo, items[0]) == 501


@pytest.mark.hypothesis
def test_any_order_and_repetition_of_webhooks_ends_in_the_same_state(
    runner: asyncio.Runner, resources_of_runner: Resources, shop_of_runner: ShopRef, demo: Demo
) -> None:
    resources, shop = resources_of_runner, shop_of_runner
    [item, *_] = find_items(demo)
    sent = life_of_an_order(item)

    async def deliver(batches: list[list[Message]]) -> list[list[tuple[Any, ...]]]:
        find_items(demo)
        for batch in batches:
            await apply(resources, shop, handle_orders, batch)
        return order_state(demo)

    serial = runner.run(deliver([[each] for each in sent]))
    assert [row[:4] for row in serial[0]] == [(1, item.id, 5, "refunded")]

    @hypothesis.settings(max_examples=examples(quick=25, deep=100), suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def shuffle(data: st.DataObject) -> None:
        repeated = sent + data.draw(st.lists(st.sampled_from(sent), max_size=4))
        shuffled = data.draw(st.permutations(repeated))
        ends = sorted(data.draw(st.sets(st.integers(1, len(shuffled) - 1), max_size=6)))
        batches = [list(shuffled[a:b]) for a, b in zip([0, *ends], [*ends, len(shuffled)], strict=True)]
        assert runner.run(deliver(batches)) == serial

    shuffle()
