"""Webhooks of levels add up to the stock of all locations, even if some come late, twice or never."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg
import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.inventory import LOCATION
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.waiting import wait_until
from tests.support.webhooks import NOON, apply, inventory_item, level, message
from tests.support.wished_variants import Wished, versions
from wishcraft.cache import keys
from wishcraft.domain.callers import Caller
from wishcraft.domain.shops import ShopFacts
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import PayloadInvalid, ShopifyUnavailable, TransientError
from wishcraft.resources import Resources
from wishcraft.services.inventory.product_webhooks import handle_products
from wishcraft.services.inventory.stock_webhooks import handle_stock
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.services.registries.write import registry_write
from wishcraft.services.variants.reader import VariantReader
from wishcraft.services.webhooks.handler_protocol import Message
from wishcraft.settings import Settings
from wishcraft.shopify.inventory_levels import ITEMS
from wishcraft.store import shops
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

LEVELS, ITEM = "inventory_levels/update", "inventory_items/update"
STOCK = "inventory_quantity, available, status"
ELSEWHERE = 71
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def shopify(simulator: Simulator, shop: ShopRef) -> SimulatedShop:
    return simulator.shops[shop.domain]


def at_level(
    wished: Wished, available: int | None, second: float = 0, location: int = LOCATION, **values: object
) -> Message:
    """The webhook of a level of the variant."""
    return message(
        LEVELS, level(wished.variant.inventory_item_id, available, location=location, second=second, **values), second
    )


def know_levels(wished: Wished, levels: dict[int, int]) -> None:
    """Store the levels as read an hour before `NOON`, and their sum as the stock."""
    hour_before, item_id, demo = NOON - timedelta(hours=1), wished.variant.inventory_item_id, wished.demo
    demo.execute("DELETE FROM inventory_levels WHERE inventory_item_id = %s", [item_id])
    demo.execute("DELETE FROM inventory_items WHERE inventory_item_id = %s", [item_id])
    demo.execute(
        """INSERT INTO inventory_items (shop_id, inventory_item_id, levels_read_at, stock_observed_at)
           VALUES (1, %s, %s, %s)""",
        [item_id, hour_before, hour_before],
    )
    for location, available in levels.items():
        demo.execute(
            """INSERT INTO inventory_levels
                   (shop_id, inventory_item_id, location_id, available, updated_at, triggered_at)
               VALUES (1, %s, %s, %s, %s, %s)""",
            [item_id, location, available, hour_before, hour_before],
        )
    query = "UPDATE registry_items SET inventory_quantity = %s WHERE inventory_item_id = %s"
    demo.execute(query, [sum(levels.values()), item_id])


async def test_levels_of_an_item_are_read_once_and_add_up_from_then_on(
    resources: Resources, shop: ShopRef, shopify: SimulatedShop, wished: Wished
) -> None:
    wished.variant.quantity, wished.variant.elsewhere = 11, {ELSEWHERE: 4, 72: -1}
    soon = (datetime.now(UTC) - NOON).total_seconds() + 3600
    assert set((await apply(resources, shop, handle_stock, [at_level(wished, 8)])).values()) == {"applied"}
    assert wished.row("inventory_quantity") == (11,)  # Shopify was asked after the webhook
    for location, available, total in ((ELSEWHERE, 1, 8), (LOCATION, 0, 0), (72, None, 1), (73, 6, 7)):
        soon += 10
        sent = at_level(wished, available, soon, location)._replace(received_at=datetime.now(UTC))
        await apply(resources, shop, handle_stock, [sent])
        assert wished.row("inventory_quantity") == (total,)
    assert shopify.counters.requests == 1


async def test_unknown_levels_of_a_batch_are_read_in_one_query(
    resources: Resources, shop: ShopRef, shopify: SimulatedShop, wishes: list[Wished]
) -> None:
    chosen = wishes[:ITEMS]
    for number, each in enumerate(chosen):
        each.variant.quantity = number
    await apply(resources, shop, handle_stock, [at_level(each, 99) for each in chosen])
    assert [each.row("inventory_quantity") for each in chosen] == [(number,) for number in range(len(chosen))]
    assert len(chosen) > 5
    assert shopify.counters.requests == 1


async def test_new_stock_of_two_locations_is_shown_at_once(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 9, ELSEWHERE: 3})
    reader = RegistryReader(resources)
    await reader.read(shop.id, wished.slug)
    before = versions(demo)
    await apply(resources, shop, handle_stock, [at_level(wished, 0), at_level(wished, -2, 1, ELSEWHERE)])
    assert wished.row(STOCK) == (-2, False, "out_of_stock")
    answer = await reader.read(shop.id, wished.slug)
    assert answer.state == "hit"
    shown = {each["id"]: each["stock"] for each in orjson.loads(answer.entry.body)["items"]}
    assert shown[wished.item_id] == "out"
    after = versions(demo)
    assert {slug for slug in after if after[slug] != before[slug]} == wished.holders()
    await apply(resources, shop, handle_stock, [at_level(wished, 40, 2)])
    assert wished.row(STOCK) == (38, True, "active")


async def test_levels_from_before_an_uninstallation_are_not_added_up(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 5, ELSEWHERE: 5})
    wished.variant.quantity, wished.variant.elsewhere = 4, {ELSEWHERE: 0}  # sold out there, and no webhook came
    facts = ShopFacts("Maple & Pine", "owner@example.com", "USD", "America/New_York")
    async with resources.db.transaction() as session:
        token = await resources.tokens.load(shop.domain)
        assert await shops.uninstall(session, shop.id, datetime.now(UTC))
        columns = resources.tokens.columns(token)
        await shops.install(session, shop.domain, facts, "Basic", columns, datetime.now(UTC))
    await apply(resources, shop, handle_stock, [at_level(wished, 4, 9)])
    assert wished.row("inventory_quantity") == (4,)


async def test_levels_from_before_a_time_without_wishes_are_not_added_up(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 5, ELSEWHERE: 5})
    wished.variant.quantity, wished.variant.elsewhere = 5, {ELSEWHERE: 0}
    change = "UPDATE registries SET status = %s WHERE slug = ANY(%s)"
    holders = list(wished.holders())
    wished.demo.execute(change, ["paused", holders])
    await apply(resources, shop, handle_stock, [at_level(wished, 0, 5, ELSEWHERE)])
    wished.demo.execute(change, ["active", holders])
    wished.variant.quantity = 4
    await apply(resources, shop, handle_stock, [at_level(wished, 4, 9)])
    assert wished.row("inventory_quantity") == (4,)


async def test_levels_read_before_a_time_without_wishes_are_read_again(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    """Shopify was asked when no level was known; before the answer is stored, one changes that nothing wishes for."""
    wished.variant.quantity, wished.variant.elsewhere = 5, {ELSEWHERE: 5}
    sent, change, holders = (
        at_level(wished, 5),
        "UPDATE registries SET status = %s WHERE slug = ANY(%s)",
        wished.holders(),
    )
    effect = await handle_stock(resources, shop, [sent])
    demo.execute(change, ["archived", list(holders)])
    await apply(resources, shop, handle_stock, [at_level(wished, 0, 5, ELSEWHERE)])
    demo.execute(change, ["active", list(holders)])
    with pytest.raises(TransientError, match="since these were read"):
        async with registry_write(
            resources, Actor(shop.id, "test"), sorted(effect.registry_ids), on_cache_down="announce"
        ) as write:
            await effect.apply(write)
    wished.variant.elsewhere = {ELSEWHERE: 0}
    await apply(resources, shop, handle_stock, [sent])
    assert wished.row("inventory_quantity") == (5,)


async def test_items_with_and_without_wishes_are_locked_in_the_order_of_their_ids(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    """While another transaction holds the first item, the handler waits for it and has locked no other."""
    know_levels(wished, {LOCATION: 9})
    first, unwished = wished.variant.inventory_item_id, 2**53
    demo.execute(
        "INSERT INTO inventory_items (shop_id, inventory_item_id, levels_read_at) VALUES (1, %s, now())", [unwished]
    )
    messages = [at_level(wished, 4, 9), message(LEVELS, level(unwished, 1, second=9), 9)]
    by_id = "SELECT levels_read_at IS NULL FROM inventory_items WHERE shop_id = 1 AND inventory_item_id = %s"
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as writer:
        writer.execute(f"{by_id} FOR UPDATE", [first])
        handling = asyncio.create_task(apply(resources, shop, handle_stock, messages))
        await wait_until(lambda: handling.done() or demo.execute(WAITING).fetchone() != (0,))
        assert not handling.done()
        assert demo.execute(f"{by_id} FOR UPDATE SKIP LOCKED", [unwished]).fetchone() == (False,)
        writer.rollback()
    await handling
    assert demo.execute(by_id, [unwished]).fetchone() == (True,)
    assert wished.row("inventory_quantity") == (4,)


async def test_older_level_never_undoes_a_newer_one(resources: Resources, shop: ShopRef, wished: Wished) -> None:
    know_levels(wished, {LOCATION: 9, ELSEWHERE: 3})
    await apply(resources, shop, handle_stock, [at_level(wished, 5, 9.7)])
    for late in (at_level(wished, 6, 8), at_level(wished, 7, 9.2), at_level(wished, 5, 9.7)):
        assert await apply(resources, shop, handle_stock, [late]) == {late.id: WebhookOutcome.IGNORED}
        assert wished.row("inventory_quantity") == (8,)
    other = at_level(wished, 1, 8, ELSEWHERE)  # older than the other location's, and its newest
    assert await apply(resources, shop, handle_stock, [other]) == {other.id: WebhookOutcome.APPLIED}
    assert wished.row("inventory_quantity") == (6,)


async def test_levels_of_the_same_moment_have_one_result_in_either_order(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    one, other = at_level(wished, 5), at_level(wished, 6)
    results = set()
    for batches in ([[one], [other]], [[other], [one]], [[one, other]], [[other, one]]):
        know_levels(wished, {LOCATION: 9})
        for batch in batches:
            await apply(resources, shop, handle_stock, batch)
        results.add(wished.row("inventory_quantity"))
    assert len(results) == 1


async def test_location_that_no_longer_stocks_an_item_is_forgotten_when_levels_are_read(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 9, ELSEWHERE: 3})
    wished.variant.quantity = 9  # the other location was deactivated, which sends no webhook
    await sync_shop(resources, shop)
    assert wished.row("inventory_quantity") == (9,)
    await apply(resources, shop, handle_stock, [at_level(wished, 9)])
    await apply(resources, shop, handle_stock, [at_level(wished, 3, 5, ELSEWHERE)])  # late
    assert wished.row("inventory_quantity") == (9,)
    assert demo.execute("SELECT location_id FROM inventory_levels").fetchall() == [(LOCATION,)]


async def test_sync_that_finds_another_sum_has_the_levels_read_again(
    resources: Resources, shop: ShopRef, shopify: SimulatedShop, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 9, ELSEWHERE: 3})
    wished.variant.quantity, wished.variant.elsewhere = 10, {ELSEWHERE: 1}  # that webhook was lost
    await sync_shop(resources, shop)
    requests, soon = shopify.counters.requests, (datetime.now(UTC) - NOON).total_seconds() + 10
    wished.variant.quantity = 9
    sent = at_level(wished, 8, soon)._replace(received_at=datetime.now(UTC))
    await apply(resources, shop, handle_stock, [sent])
    assert wished.row("inventory_quantity") == (9,)
    assert shopify.counters.requests == requests + 1


async def test_sync_that_finds_the_same_sum_keeps_the_levels(
    resources: Resources, shop: ShopRef, shopify: SimulatedShop, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 9, ELSEWHERE: 3})
    wished.variant.quantity, wished.variant.price = 12, wished.variant.price + 1
    await sync_shop(resources, shop)
    requests, soon = shopify.counters.requests, (datetime.now(UTC) - NOON).total_seconds() + 10
    await apply(resources, shop, handle_stock, [at_level(wished, 1, soon)._replace(received_at=datetime.now(UTC))])
    assert wished.row("inventory_quantity") == (4,)
    assert shopify.counters.requests == requests


async def test_sync_that_began_before_a_level_changed_keeps_the_new_stock(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 9, ELSEWHERE: 3})
    wished.variant.quantity, wished.variant.price = 12, wished.variant.price + 1

    async def receive(_done: int, _total: int) -> None:  # after Shopify was asked, before the sync writes
        second = (datetime.now(UTC) - NOON).total_seconds()
        sent = at_level(wished, 0, second)._replace(received_at=datetime.now(UTC))
        await apply(resources, shop, handle_stock, [sent])

    await sync_shop(resources, shop, checkpoint=receive)
    assert wished.row("inventory_quantity, price") == (3, wished.variant.price)


async def test_level_of_an_item_that_a_sync_found_wrong_meanwhile_is_tried_again(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 9})
    effect = await handle_stock(resources, shop, [at_level(wished, 4)])
    demo.execute("UPDATE inventory_items SET levels_read_at = NULL")
    with pytest.raises(TransientError):
        async with registry_write(
            resources, Actor(shop.id, "test"), sorted(effect.registry_ids), on_cache_down="announce"
        ) as write:
            await effect.apply(write)
    assert wished.row("inventory_quantity") == (9,)


async def test_item_that_is_not_counted_is_available_and_levels_are_read_when_it_is_again(
    resources: Resources, shop: ShopRef, shopify: SimulatedShop, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 0})
    item_id = wished.variant.inventory_item_id
    for second, tracked, stock in ((2, False, (0, True, "active")), (4, True, (6, True, "active"))):
        wished.variant.quantity = 6
        sent = message(ITEM, inventory_item(item_id, tracked=tracked, second=second), second)
        await apply(resources, shop, handle_stock, [sent])
        assert wished.row(STOCK) == stock
        assert wished.row("tracked") == (tracked,)
    late = message(ITEM, inventory_item(item_id, tracked=False, second=3), 3)
    assert await apply(resources, shop, handle_stock, [late]) == {late.id: WebhookOutcome.IGNORED}
    assert wished.row("tracked") == (True,)
    unchanged = message(ITEM, inventory_item(item_id, tracked=True, second=9), 9)  # its cost, for instance
    await apply(resources, shop, handle_stock, [unchanged])
    assert shopify.counters.requests == 1


async def test_stock_is_left_to_the_sync_if_refused_and_retried_if_shopify_is_unavailable(
    resources: Resources, shop: ShopRef, shopify: SimulatedShop, wishes: list[Wished]
) -> None:
    wished, known = wishes[:2]
    know_levels(known, {LOCATION: 9})
    stock = wished.row(STOCK)
    shopify.faults.set(Fault(FaultKind.FORBIDDEN, remaining=None))
    await apply(resources, shop, handle_stock, [at_level(wished, 1)])
    assert wished.row(STOCK) == stock
    shopify.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=None))
    shopify.faults.set(Fault(FaultKind.FORBIDDEN, remaining=0))
    counted = message(ITEM, inventory_item(wished.variant.inventory_item_id, tracked=True, second=1), 1)
    about_wished, about_known = at_level(wished, 2, 1), at_level(known, 4, 1)
    messages = [at_level(wished, 3), about_wished, about_known, counted]
    effect = await handle_stock(resources, shop, messages)
    assert {ShopifyUnavailable} == {type(each) for each in effect.failed.values()}
    assert effect.failed.keys() == {about_wished.id, counted.id}
    assert await apply(resources, shop, handle_stock, messages) == {
        messages[0].id: WebhookOutcome.IGNORED, **dict.fromkeys([each.id for each in messages[1:]], "applied"),
    }  # fmt: skip
    assert (wished.row(STOCK), known.row("inventory_quantity")) == (stock, (4,))


@pytest.mark.parametrize(
    ("topic", "changes"),
    [
        (LEVELS, {"available": "5"}), (LEVELS, {"available": True}), (LEVELS, {"available": 10**10}),
        (LEVELS, {"available": -(10**10)}), (LEVELS, {"available": 0.5}), (LEVELS, {"location_id": None}),
        (LEVELS, {"inventory_item_id": None}), (LEVELS, {"inventory_item_id": 2**63}), (LEVELS, {"updated_at": 7}),
        (ITEM, {"tracked": None}), (ITEM, {"tracked": 1}), (ITEM, {"id": None}), (ITEM, {"updated_at": "\0"}),
    ],
)  # fmt: skip
async def test_stock_that_cannot_be_read_is_refused(
    resources: Resources, shop: ShopRef, topic: str, changes: dict[str, Any]
) -> None:
    payload = level(5, 1) if topic == LEVELS else inventory_item(5, tracked=True)
    with pytest.raises(PayloadInvalid):
        await apply(resources, shop, handle_stock, [message(topic, payload | changes)])


async def test_look_up_finds_the_new_stock_and_no_reading_from_before_is_kept(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 9})
    number, products = wished.variant.variant_id, VariantReader(resources)
    era, caller = await resources.variants.current_era(), Caller(shop.id, "customer:1:9", 9)
    before = (await products.read(caller, [number])).facts[number]
    wished.variant.quantity = 2
    later = datetime.now(UTC) + timedelta(seconds=2)
    sent = at_level(wished, 2, (later - NOON).total_seconds())._replace(received_at=later)
    await apply(resources, shop, handle_stock, [sent])
    assert await resources.variants.get(shop.id, [number]) == {}
    await resources.variants.store(
        shop.id, era, {number: before}, shop.settings.cache_quota
    )  # by a query that was under way
    found = (await products.read(caller, [number])).facts[number].reading
    assert found
    assert found.inventory_quantity == 2
    assert await resources.redis.redis.ttl(f"{keys.of_shop(shop.id).variant_prefix}{number}") > 0


async def test_older_level_changes_nothing_of_a_deleted_product_that_had_no_stock(
    resources: Resources, shop: ShopRef, wished: Wished
) -> None:
    know_levels(wished, {LOCATION: 0})
    wished.demo.execute(
        """UPDATE registry_items SET product_active = false, available = false, status = 'discontinued',
               inventory_quantity = 0, inventory_observed_at = NULL WHERE id = %s""",
        [wished.item_id],
    )
    deletion = message("products/delete", {"id": wished.variant.product_id}, 9)  # changes nothing that is shown
    await apply(resources, shop, handle_products, [deletion])
    await apply(resources, shop, handle_stock, [at_level(wished, 7, 8)])
    assert wished.row("inventory_quantity, status") == (0, "discontinued")
