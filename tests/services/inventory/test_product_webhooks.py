"""Items follow the webhooks of their products, even if some come late, twice or never."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product as combinations
from typing import Any

import orjson
import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.variants import reading
from tests.support.webhooks import NOON, apply, inventory_item, level, message, product, variant
from tests.support.wished_variants import Wished, versions
from wishcraft.domain.inventory import InventoryPolicy, is_available, item_status
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import PayloadInvalid, ShopifyUnavailable
from wishcraft.resources import Resources, open_resources
from wishcraft.services.inventory.product_webhooks import handle_products
from wishcraft.services.inventory.stock_webhooks import handle_stock
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import Settings
from wishcraft.store import item_readings
from wishcraft.store.audit_log import Actor
from wishcraft.store.item_readings import observe
from wishcraft.store.shops import ShopRef

UPDATE, DELETE = "products/update", "products/delete"
SOLD = "available, status, product_active"


def updated(wished: Wished, price: str = "77.00", second: float = 0, **values: object) -> dict[str, Any]:
    """The payload of the variant's product, which has no other variant."""
    listed = [variant(wished.variant.variant_id, price)]
    return product(wished.variant.product_id, listed, second=second, **values)


def sent_now(payload: dict[str, Any], topic: str = UPDATE, later: timedelta = timedelta(0)) -> Message:
    """A webhook of an event that happened now, or so much later."""
    time = datetime.now(UTC) + later
    return message(topic, payload | {"updated_at": time.isoformat()})._replace(triggered_at=time, received_at=time)


async def test_changed_product_is_shown_at_once_in_the_registries_that_wish_for_it(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    reader = RegistryReader(resources)
    await reader.read(shop.id, wished.slug)
    before = versions(demo)
    stock = wished.row("inventory_quantity, tracked, inventory_item_id")
    listed = variant(
        wished.variant.variant_id, "77.00", title="Sa\u0000ge", compare_at_price="99.5", inventory_policy="continue"
    )
    payload = product(wished.variant.product_id, [listed], title="Vase", handle="vase-2")
    assert set((await apply(resources, shop, handle_products, [message(UPDATE, payload)])).values()) == {"applied"}
    assert wished.row("price, compare_at_price, product_title, variant_title, handle, inventory_policy") == (
        Decimal(77), Decimal("99.5"), "Vase", "Sage", "vase-2", "continue",
    )  # fmt: skip
    assert wished.row("inventory_quantity, tracked, inventory_item_id") == stock  # levels say how many there are
    after = versions(demo)
    assert {slug for slug in after if after[slug] != before[slug]} == wished.holders()
    answer = await reader.read(shop.id, wished.slug)
    assert answer.state == "hit"
    assert {each["id"]: each["price"] for each in orjson.loads(answer.entry.body)["items"]}[wished.item_id] == "77.00"


@pytest.mark.parametrize("status", ["draft", "archived", "ARCHIVED"])
async def test_product_that_is_no_longer_sold_is_withdrawn_and_restored(
    resources: Resources, shop: ShopRef, wished: Wished, status: str
) -> None:
    await apply(resources, shop, handle_products, [message(UPDATE, updated(wished, status=status))])
    assert wished.row(SOLD) == (False, "discontinued", False)
    unlisted = message(UPDATE, updated(wished, second=9, status="unlisted"))
    await apply(resources, shop, handle_products, [unlisted])
    assert wished.row(SOLD) == (True, "active", True)


async def test_older_webhook_never_undoes_a_newer_one(resources: Resources, shop: ShopRef, wished: Wished) -> None:
    newest = message(UPDATE, updated(wished, "9.00", 9), 9.7)
    old = [
        message(UPDATE, updated(wished, "8.00", 8), 8.9),
        message(UPDATE, updated(wished, "7.00", 9), 9.2),  # of the same second
        newest,
    ]
    await apply(resources, shop, handle_products, [newest])
    for each in old:
        outcomes = await apply(resources, shop, handle_products, [each])
        assert outcomes == {each.id: WebhookOutcome.IGNORED}
        assert wished.row("price") == (Decimal(9),)


async def test_two_webhooks_of_the_same_moment_have_one_result_in_either_order(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    one, other = (message(UPDATE, updated(wished, price)) for price in ("5.00", "6.00"))
    results = set()
    for batches in ([[one], [other]], [[other], [one]], [[one, other]], [[other, one]]):
        demo.execute("TRUNCATE product_versions")
        for batch in batches:
            await apply(resources, shop, handle_products, batch)
        results.add(wished.row("price"))
    assert len(results) == 1


async def test_deleted_product_is_discontinued_for_good_and_keeps_title_and_price(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    before = wished.row("price, product_title, compare_at_price")
    deletion = message(DELETE, {"id": wished.variant.product_id}, 9)
    assert await apply(resources, shop, handle_products, [deletion]) == {deletion.id: WebhookOutcome.APPLIED}
    for late in (
        message(UPDATE, updated(wished, second=8), 8),
        message("inventory_levels/update", level(wished.variant.inventory_item_id, 7, second=8), 8),
    ):
        handler = HANDLERS[late.topic]
        await apply(resources, shop, handler, [late])
    assert wished.row("price, product_title, compare_at_price") == before
    assert wished.row(SOLD) == (False, "discontinued", False)
    assert wished.row("inventory_quantity")[0] in {0, wished.variant.quantity}


async def test_missing_variants_are_read_together_and_deleted_ones_are_discontinued(
    resources: Resources, simulator: Simulator, shop: ShopRef, wishes: list[Wished]
) -> None:
    gone, hundredth = wishes[:2]
    gone.variant.deleted = True
    hundredth.variant.price = Decimal("31.00")
    payloads = [product(each.variant.product_id, [variant(7)]) for each in (gone, hundredth)]
    await apply(resources, shop, handle_products, [message(UPDATE, each) for each in payloads])
    assert simulator.shops[shop.domain].counters.requests == 1
    assert gone.row(f"{SOLD}, inventory_quantity") == (False, "discontinued", False, 0)
    assert hundredth.row("price, status") == (Decimal(31), "active")


async def test_product_is_handled_although_its_other_variants_cannot_be_read(
    resources: Resources, simulator: Simulator, shop: ShopRef, wishes: list[Wished]
) -> None:
    wished, other = wishes[:2]
    lacking = message(UPDATE, product(wished.variant.product_id, []))
    simulator.shops[shop.domain].faults.set(Fault(FaultKind.FORBIDDEN, remaining=None))
    assert await apply(resources, shop, handle_products, [lacking]) == {lacking.id: WebhookOutcome.APPLIED}
    assert wished.row("status") == ("active",)
    simulator.shops[shop.domain].faults.set(Fault(FaultKind.UNAVAILABLE, remaining=None))
    lacking, complete = (
        message(UPDATE, product(wished.variant.product_id, [], second=1), 1),
        sent_now(updated(other, "77.00")),
    )
    effect = await handle_products(resources, shop, [lacking, complete])
    assert {key: type(error) for key, error in effect.failed.items()} == {lacking.id: ShopifyUnavailable}
    await apply(resources, shop, handle_products, [lacking, complete])
    assert other.row("price") == (Decimal(77),)
    assert wished.row("status") == ("active",)


async def test_sync_that_began_before_a_webhook_keeps_the_webhooks_values(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    wished.variant.price, wished.variant.quantity = Decimal("1.00"), 31

    async def receive(_done: int, _total: int) -> None:  # after Shopify was asked, before the sync writes
        await apply(resources, shop, handle_products, [sent_now(updated(wished, "88.00"))])

    await sync_shop(resources, shop, checkpoint=receive)
    assert wished.row("price, inventory_quantity") == (Decimal(88), 31)


async def test_webhook_that_changes_nothing_keeps_an_older_reading_out_too(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    price = wished.row("price")
    wished.variant.price = Decimal("1.00")

    async def receive(_done: int, _total: int) -> None:
        known = sent_now(updated(wished, f"{price[0]:.2f}"))
        await apply(resources, shop, handle_products, [known])

    await sync_shop(resources, shop, checkpoint=receive)
    assert wished.row("price") == price


async def test_webhook_older_than_the_last_sync_changes_nothing(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    demo.execute("UPDATE registry_items SET created_at = now() - interval '1 day'")
    before = wished.row(f"{SOLD}, price, tracked, inventory_quantity")
    assert (await sync_shop(resources, shop))["items_changed"] == 0  # so that no item says when it was read
    late = timedelta(minutes=-1)
    item_id = wished.variant.inventory_item_id
    await apply(resources, shop, handle_products, [sent_now(updated(wished, status="draft"), later=late)])
    for topic, payload in (
        ("inventory_items/update", inventory_item(item_id, tracked=False)),
        ("inventory_levels/update", level(item_id, 0)),
    ):
        await apply(resources, shop, handle_stock, [sent_now(payload, topic, late)])
    assert wished.row(f"{SOLD}, price, tracked, inventory_quantity") == before
    await apply(resources, shop, handle_products, [sent_now(updated(wished), later=timedelta(seconds=2))])
    assert wished.row("price") == (Decimal(77),)


async def test_item_added_after_the_last_sync_takes_webhooks_that_are_older(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    await sync_shop(resources, shop)
    demo.execute("UPDATE registry_items SET created_at = now()")  # from facts that were read before the webhook's event
    await apply(resources, shop, handle_products, [sent_now(updated(wished), later=timedelta(minutes=-1))])
    assert wished.row("price") == (Decimal(77),)


async def test_archived_registries_and_other_shops_stay_as_they_are(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    demo.execute("UPDATE registries SET status = 'archived' WHERE slug = %s", [wished.slug])
    demo.execute("UPDATE registry_items SET product_id = 5, inventory_item_id = 6, variant_id = id WHERE shop_id = 2")
    [(foreign, inactive)] = demo.execute(
        "SELECT min(id) FILTER (WHERE shop_id = 2), min(id) FILTER (WHERE id = %s) FROM registry_items",
        [wished.item_id],
    ).fetchall()
    before = demo.execute("SELECT * FROM registry_items WHERE id IN (%s, %s) ORDER BY id", [foreign, inactive])
    expected = before.fetchall()
    levels = [level(6, 1), level(wished.variant.inventory_item_id, 1)]
    outcomes = await apply(resources, shop, handle_products, [
        message(UPDATE, product(5, [variant(foreign)])), message(DELETE, {"id": 5}, 9),
    ])  # fmt: skip
    await apply(resources, shop, handle_products, [message(UPDATE, updated(wished))])
    await apply(resources, shop, handle_stock, [message("inventory_levels/update", each) for each in levels])
    assert set(outcomes.values()) == {WebhookOutcome.IGNORED}
    after = demo.execute("SELECT * FROM registry_items WHERE id IN (%s, %s) ORDER BY id", [foreign, inactive])
    assert after.fetchall() == expected
    assert demo.execute("SELECT FROM product_versions WHERE product_id = 5").fetchall() == []


async def test_products_and_stock_without_wishes_cost_few_queries_none_of_shopify(
    resources: Resources, simulator: Simulator, shop: ShopRef, queries: list[str]
) -> None:
    products = [message(UPDATE, product(number, [variant(number)])) for number in range(1, 2001)]
    levels = [message("inventory_levels/update", level(number, 1)) for number in range(1, 2001)]
    for handler, sent, number in ((handle_products, products, 1), (handle_stock, levels, 2)):
        queries.clear()
        outcomes = await apply(resources, shop, handler, sent)
        assert set(outcomes.values()) == {WebhookOutcome.IGNORED}
        assert len([each for each in queries if "registry_items" in each]) == 1
        assert len(queries) == number
    assert simulator.shops[shop.domain].counters.requests == 0


async def test_number_of_queries_is_the_same_for_one_product_and_for_many(
    resources: Resources, demo: Demo, shop: ShopRef, wishes: list[Wished], queries: list[str]
) -> None:
    assert len(wishes) > 5
    numbers = []
    for chosen, price in ((wishes[:1], "5.00"), (wishes, "6.00")):
        sent = [message(UPDATE, updated(each, price), float(price)) for each in chosen]
        levels = [message("inventory_levels/update", level(each.variant.inventory_item_id, 3)) for each in chosen]
        demo.execute("TRUNCATE product_versions, inventory_items, inventory_levels")
        queries.clear()
        await apply(resources, shop, handle_products, sent)
        await apply(resources, shop, handle_stock, levels)
        # Shopify's token is read for each query to it.
        numbers.append(len([each for each in queries if "token" not in each]))
    assert {each.row("price") for each in wishes} == {(Decimal(6),)}
    assert numbers[1] == numbers[0] + 1  # the time of the variants that the payloads lack, and that are read by id


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None}, {"id": True}, {"id": "5"}, {"id": 2**63}, {"id": 0}, {"id": -5}, {"id": 1.5}, {"title": 5},
        {"title": None}, {"handle": None}, {"status": None}, {"status": {}}, {"variants": None}, {"variants": [7]},
        {"variants": {}}, {"updated_at": "yesterday"}, {"updated_at": "2026-03-14T12:00:00"}, {"updated_at": 5},
        {"updated_at": "9999-12-31T23:59:59Z"}, {"updated_at": "0001-01-01T00:00:00+14:00"},
        {"variants": [variant(1, "NaN")]}, {"variants": [variant(1, "-1")]}, {"variants": [variant(1, "1e999999")]},
        {"variants": [variant(1) | {"price": 5}]}, {"variants": [variant(1, compare_at_price="x")]},
        {"variants": [variant(1, inventory_policy="maybe")]}, {"variants": [variant(1, inventory_policy=[])]},
        {"variants": [variant(2**64)]}, {"variants": [variant(1, title=None)]},
        {"variants": [variant(1, inventory_item_id="x")]},
    ],
)  # fmt: skip
async def test_product_that_cannot_be_read_is_refused(
    resources: Resources, shop: ShopRef, changes: dict[str, Any]
) -> None:
    with pytest.raises(PayloadInvalid):
        await apply(resources, shop, handle_products, [message(UPDATE, product(5, []) | changes)])


async def test_event_without_any_time_is_refused(resources: Resources, shop: ShopRef) -> None:
    sent = [
        (handle_products, message(DELETE, {"id": 5})),
        (handle_products, message(UPDATE, product(5, []) | {"updated_at": None})),
        (handle_stock, message("inventory_levels/update", level(5, 1) | {"updated_at": None})),
    ]
    for handler, each in sent:
        await apply(resources, shop, handler, [each])  # the header has one
        with pytest.raises(PayloadInvalid):
            await apply(resources, shop, handler, [each._replace(triggered_at=None)])


async def test_unusable_webhooks_become_dead_letters_and_the_rest_of_the_batch_is_applied(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    await resources.redis.learn_era()
    item_id = wished.variant.inventory_item_id
    sent = [
        (UPDATE, updated(wished)), (UPDATE, {}), (DELETE, {"id": "x"}), ("inventory_levels/update", {"available": 1}),
        ("inventory_levels/update", level(item_id, 10**30)), ("inventory_items/update", {"id": item_id}),
        ("inventory_levels/update", level(item_id, 4)),
    ]  # fmt: skip
    demo.execute("TRUNCATE webhook_events")
    ids = [
        row_id
        for topic, payload in sent
        for (row_id,) in demo.execute(
            """INSERT INTO webhook_events (shop_domain, webhook_id, topic, triggered_at, payload)
               VALUES (%s, gen_random_uuid()::text, %s, %s, %s) RETURNING id""",
            [shop.domain, topic, NOON, json.dumps(payload).encode()],
        )
    ]
    await process(resources, HANDLERS, shop.domain, ids)
    outcomes = [outcome for (outcome,) in demo.execute("SELECT outcome FROM webhook_events ORDER BY id")]
    demo.execute("TRUNCATE webhook_events")
    assert outcomes == ["applied", *["dead"] * 5, "applied"]
    assert wished.row("price") == (Decimal(77),)


async def test_webhooks_are_applied_without_redis(
    resources: Resources, settings: Settings, shop: ShopRef, wished: Wished
) -> None:
    async with open_resources(settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})) as unreachable:
        await apply(unreachable, shop, handle_products, [message(UPDATE, updated(wished))])
    assert wished.row("price") == (Decimal(77),)


async def test_availability_and_status_follow_from_the_values_as_for_a_new_item(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    [(registry_id,)] = demo.execute("SELECT id FROM registries WHERE slug = %s", [wished.slug]).fetchall()
    number, at = wished.variant.variant_id, NOON
    for tracked, quantity, policy, active in combinations((True, False), (-1, 0, 1), InventoryPolicy, (True, False)):
        values: dict[str, Any] = {"inventory_quantity": quantity, "inventory_policy": policy, "product_active": active}
        each = reading(variant_id=number, tracked=tracked, **values)
        at += timedelta(seconds=1)
        async with registry_write(resources, Actor(shop.id, "test"), [registry_id], on_cache_down="refuse") as write:
            await item_readings.apply_observations(write.session, shop.id, [registry_id], [observe(number, each, at)])
        assert wished.row("available, status") == (is_available(each), item_status(each).value)
