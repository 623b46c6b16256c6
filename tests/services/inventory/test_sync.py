import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest

from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.job_processes import command, environment
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tests.support.wished_variants import versions
from wishcraft.cache.variants import MARK_LIFETIME
from wishcraft.errors import CacheUnavailable, RunStopped
from wishcraft.resources import Resources, open_resources
from wishcraft.services.checkpoint import Changes
from wishcraft.services.inventory import sync
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.registries.reader import RegistryReader, load_registries
from wishcraft.services.registries.warm import warm_shop
from wishcraft.settings import Settings
from wishcraft.shopify.variants import read_variants
from wishcraft.store import locks
from wishcraft.store.shops import ShopRef


class SyncedItem:
    """An item of an active registry, and its variant in the simulator."""

    def __init__(self, demo: Demo, shop: ShopRef, simulator: Simulator) -> None:
        found = demo.execute(
            """SELECT i.id, i.variant_id, r.slug FROM registry_items i JOIN registries r ON r.id = i.registry_id
               WHERE r.shop_id = %s AND r.status = 'active' AND i.tracked AND i.available ORDER BY i.id""",
            [shop.id],
        ).fetchone()
        assert found
        self.id, self.variant_id, self.slug = found
        self._demo = demo
        variant = simulator.shops[shop.domain].inventory.find_or_deleted(self.variant_id)
        assert variant
        self.variant = variant

    def row(self, *columns: str) -> tuple[Any, ...]:
        """Read columns of the item."""
        found = self._demo.execute(
            f"SELECT {', '.join(columns)} FROM registry_items WHERE id = %s",  # noqa: S608  the test's own columns
            [self.id],
        ).fetchone()
        assert found
        return found


@pytest.fixture
def item(demo: Demo, shop: ShopRef, simulator: Simulator) -> SyncedItem:
    """An item that is in sync with the simulator."""
    return SyncedItem(demo, shop, simulator)


def contents(demo: Demo) -> list[tuple[Any, ...]]:
    columns = "id, price, inventory_quantity, available, status, product_title"
    return demo.execute(f"SELECT {columns} FROM registry_items ORDER BY id").fetchall()  # noqa: S608  constants


async def test_a_sync_without_changes_writes_nothing(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    before = contents(demo), versions(demo)
    counts = await sync_shop(resources, shop)
    assert counts["variants"] > 0
    assert (counts["items_changed"], counts["registries_touched"]) == (0, 0)
    assert (contents(demo), versions(demo)) == before
    assert demo.execute("SELECT count(inventory_observed_at) FROM registry_items").fetchone() == (0,)


async def test_readers_see_a_new_price_after_the_sync(resources: Resources, shop: ShopRef, item: SyncedItem) -> None:
    await RegistryReader(resources).read(shop.id, item.slug)
    item.variant.price += 1
    await sync_shop(resources, shop)
    answer = await RegistryReader(resources).read(shop.id, item.slug)
    assert answer.entry
    shown = {item["id"]: item["price"] for item in orjson.loads(answer.entry.body)["items"]}
    assert shown[item.id] == f"{item.variant.price:.2f}"
    assert answer.state == "hit"  # the sync refilled the cache


async def test_price_of_an_item_is_in_the_shops_new_currency_after_the_sync(
    resources: Resources, demo: Demo, shop: ShopRef, item: SyncedItem
) -> None:
    demo.execute("UPDATE shops SET currency = 'JPY' WHERE id = %s", [shop.id])
    demo.execute("DELETE FROM registry_items WHERE id <> %s", [item.id])
    [old] = item.row("price")
    item.variant.price, changes = Decimal(9000), Changes()
    await sync_shop(resources, shop, changes=changes)
    assert item.row("price", "currency") == (9000, "JPY")
    [example] = changes.examples["other price"]
    assert example.endswith(f" ({old:.2f} USD → 9000 JPY)")


async def test_only_registries_with_the_changed_variant_are_written(
    resources: Resources, demo: Demo, shop: ShopRef, item: SyncedItem
) -> None:
    await warm_shop(resources, shop)
    before = versions(demo)
    entries = await resources.cache.headers(shop.id, before)
    item.variant.price += 1
    counts = await sync_shop(resources, shop)
    holding = {
        slug
        for (slug,) in demo.execute(
            """SELECT r.slug FROM registries r JOIN registry_items i ON i.registry_id = r.id
               WHERE i.variant_id = %s AND r.status = 'active'""",
            [item.variant_id],
        )
    }
    touched = {slug for slug, version in versions(demo).items() if version != before[slug]}
    assert touched == holding
    assert counts["registries_touched"] == len(holding)
    after = await resources.cache.headers(shop.id, before)
    assert {slug for slug in entries if after[slug] != entries[slug]} == holding


async def test_availability_is_withdrawn_and_restored(resources: Resources, shop: ShopRef, item: SyncedItem) -> None:
    stock, item.variant.quantity = item.variant.quantity, 0
    item.variant.policy = type(item.variant.policy).DENY
    assert (await sync_shop(resources, shop))["out_of_stock"] >= 1
    assert item.row("available", "status", "inventory_quantity") == (False, "out_of_stock", 0)
    item.variant.quantity = stock
    await sync_shop(resources, shop)
    assert item.row("available", "status", "inventory_quantity") == (True, "active", stock)


async def test_a_deleted_variant_is_discontinued_and_keeps_titles_and_prices(
    resources: Resources, shop: ShopRef, item: SyncedItem
) -> None:
    before = item.row("price", "compare_at_price", "product_title", "variant_title")
    item.variant.deleted = True
    assert (await sync_shop(resources, shop))["deleted"] == 1
    assert item.row("available", "status") == (False, "discontinued")
    assert item.row("price", "compare_at_price", "product_title", "variant_title") == before
    item.variant.deleted = False
    await sync_shop(resources, shop)
    assert item.row("available", "status") == (True, "active")


async def test_a_newer_reading_is_not_overwritten(
    resources: Resources, demo: Demo, shop: ShopRef, item: SyncedItem
) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=1)
    demo.execute(
        "UPDATE registry_items SET inventory_quantity = 77, inventory_observed_at = %s WHERE id = %s", [soon, item.id]
    )
    await sync_shop(resources, shop)
    assert item.row("inventory_quantity", "inventory_observed_at") == (77, soon)


async def test_an_item_that_the_registrant_hid_stays_hidden(
    resources: Resources, demo: Demo, shop: ShopRef, item: SyncedItem
) -> None:
    demo.execute("UPDATE registry_items SET status = 'hidden' WHERE id = %s", [item.id])
    item.variant.price += 1
    await sync_shop(resources, shop)
    assert item.row("status", "price") == ("hidden", item.variant.price)


async def test_a_dry_run_counts_and_writes_nothing(
    resources: Resources, demo: Demo, shop: ShopRef, item: SyncedItem
) -> None:
    item.variant.price += 1
    before = contents(demo), versions(demo)
    counts = await sync_shop(resources, shop, dry_run=True)
    assert counts["registries_touched"] >= 1
    assert counts["items_changed"] == 0
    assert (contents(demo), versions(demo)) == before


async def test_a_bulk_query_has_the_same_result_as_reading_by_id(
    resources: Resources,
    demo: Demo,
    shop: ShopRef,
    simulator: Simulator,
    item: SyncedItem,
    request: pytest.FixtureRequest,
) -> None:
    doomed = simulator.shops[shop.domain].inventory.find_or_deleted(SyncedItem(demo, shop, simulator).variant_id + 1)
    assert doomed
    item.variant.price += 1
    doomed.deleted = True
    by_id = await sync_shop(resources, shop)
    expected = contents(demo)
    demo.execute("UPDATE registry_items SET price = 1, inventory_observed_at = NULL, status = 'active'")
    demo.execute("UPDATE registry_items SET product_title = 'Stale', available = NOT available")
    request.getfixturevalue("in_bulk")
    in_bulk = await sync_shop(resources, shop)
    assert simulator.shops[shop.domain].bulk_operations
    assert (in_bulk["variants"], in_bulk["deleted"]) == (by_id["variants"], by_id["deleted"])
    active = demo.execute(
        "SELECT i.id FROM registry_items i JOIN registries r ON r.id = i.registry_id"
        " WHERE r.status = 'active' AND i.shop_id = %s",
        [shop.id],
    ).fetchall()
    ids = {item_id for (item_id,) in active}
    # An item of a deleted variant keeps its price and title, which were spoilt above.
    same = [row for row in expected if row[0] in ids and row[4] != "discontinued"]
    assert [row for row in contents(demo) if row[0] in ids and row[4] != "discontinued"] == same
    assert same


async def test_a_sync_without_redis_writes_nothing(
    settings: Settings, demo: Demo, shop: ShopRef, item: SyncedItem
) -> None:
    item.variant.price += 1
    before = contents(demo), versions(demo)
    unreachable = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    async with open_resources(unreachable) as resources:
        with pytest.raises(CacheUnavailable):
            await sync_shop(resources, shop)
    assert (contents(demo), versions(demo)) == before


async def test_a_second_sync_of_a_shop_returns_at_once(
    resources: Resources, demo: Demo, shop: ShopRef, simulator: Simulator, item: SyncedItem
) -> None:
    item.variant.price += 1
    before = contents(demo), versions(demo)
    async with locks.acquire(resources.db, "sync", shop.id):
        assert await sync_shop(resources, shop) == {"already_being_synced": 1}
    assert simulator.shops[shop.domain].counters.requests == 0
    assert (contents(demo), versions(demo)) == before
    assert (await sync_shop(resources, shop))["items_changed"] > 0


async def test_two_concurrent_syncs_have_the_result_of_one(
    resources: Resources, demo: Demo, shop: ShopRef, simulator: Simulator
) -> None:
    raise_prices(simulator, shop)
    before = versions(demo)
    await asyncio.gather(sync_shop(resources, shop), sync_shop(resources, shop))
    assert {version - before[slug] for slug, version in versions(demo).items()} == {0, 1}
    assert (await sync_shop(resources, shop))["items_changed"] == 0


async def test_stock_is_counted_once_a_variant_whatever_the_number_of_items(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    demo.execute(
        "DELETE FROM registry_items a USING registry_items b WHERE a.registry_id = b.registry_id AND a.id > b.id"
    )
    demo.execute(
        """UPDATE registry_items SET variant_id = least_of.id
           FROM (SELECT shop_id, min(variant_id) AS id FROM registry_items GROUP BY shop_id) least_of
           WHERE registry_items.shop_id = least_of.shop_id"""
    )
    counts = await sync_shop(resources, shop)
    [(items, low, out)] = demo.execute(
        """SELECT count(*), bool_or(tracked AND inventory_quantity BETWEEN 1 AND 5)::int,
                  bool_or(tracked AND inventory_quantity <= 0)::int
           FROM registry_items i JOIN registries r ON r.id = i.registry_id
           WHERE r.shop_id = %s AND r.status = 'active'""",
        [shop.id],
    ).fetchall()
    assert items > 1
    assert (counts["variants"], counts["low_stock"], counts["out_of_stock"]) == (1, low, out)


@pytest.mark.usefixtures("by_ten")
async def test_a_sync_sends_one_query_a_batch_of_variants(
    resources: Resources, shop: ShopRef, simulator: Simulator
) -> None:
    counts = await sync_shop(resources, shop)
    assert simulator.shops[shop.domain].counters.requests == -(-counts["variants"] // 10)


@pytest.mark.usefixtures("by_ten")
async def test_progress_is_reported_by_batch_and_a_stop_leaves_whole_batches(
    resources: Resources, demo: Demo, shop: ShopRef, simulator: Simulator
) -> None:
    raise_prices(simulator, shop)
    progress_calls: list[tuple[int, int]] = []

    async def stop_at_the_second(done: int, total: int) -> None:
        progress_calls.append((done, total))
        if done:
            raise RunStopped

    with pytest.raises(RunStopped):
        await sync_shop(resources, shop, checkpoint=stop_at_the_second)
    assert progress_calls == [(0, progress_calls[0][1]), (10, progress_calls[0][1])]
    cached = {slug: entry.body for slug in versions(demo) if (entry := await resources.cache.get(shop.id, slug))}
    assert cached == {slug: await read_truth(resources, shop, slug) for slug in cached} != {}
    assert (await sync_shop(resources, shop))["items_changed"] > 0


@pytest.mark.usefixtures("by_ten")
async def test_quota_lowered_during_a_sync_holds_for_its_next_batch(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:

    async def lower(done: int, _: int) -> None:
        if done:
            demo.execute("""UPDATE shops SET settings = settings || '{"cache_quota_entries": 10}'""")

    counts = await sync_shop(resources, shop, checkpoint=lower)
    assert counts["variants"] > 10
    assert (await resources.usage.read([shop.id]))[shop.id].products == 10


async def test_readings_older_than_the_marks_of_webhooks_are_not_cached(
    resources: Resources, shop: ShopRef, item: SyncedItem
) -> None:
    readings = await read_variants(resources.shopify, shop.domain, [item.variant_id])
    era = await resources.variants.current_era()
    # As after a long bulk operation: a mark expires within a minute, in which the readings are still to be stored.
    for age, is_cached in ((MARK_LIFETIME - timedelta(minutes=1), False), (timedelta(minutes=1), True)):
        await sync._store_facts(resources, shop.id, era, readings, datetime.now(UTC) - age)
        assert bool(await resources.variants.get(shop.id, [item.variant_id])) is is_cached


def raise_prices(simulator: Simulator, shop: ShopRef) -> None:
    for variant_id in simulator.shops[shop.domain].inventory.variant_ids():
        variant = simulator.shops[shop.domain].inventory.find_or_deleted(variant_id)
        assert variant
        variant.price += 1


@pytest.mark.parametrize("writes", [1, 2])
async def test_the_next_sync_completes_a_killed_one(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, simulator: Simulator, writes: int
) -> None:
    await warm_shop(resources, shop)
    raise_prices(simulator, shop)
    before = versions(demo)
    process = await asyncio.create_subprocess_exec(*command("sync_demo_shop"), env=environment(settings))
    old = sum(before.values())
    await wait_until(lambda: simulator.shops[shop.domain].counters.requests, "the sync asked for nothing")
    await wait_until(lambda: sum(versions(demo).values()) - old >= writes, "the sync wrote nothing", pause=0)
    with suppress(ProcessLookupError):  # it may have ended
        process.kill()
    await process.wait()
    async with asyncio.timeout(PATIENCE_SECONDS), locks.acquire(resources.db, "sync", shop.id):
        pass  # its lock was released
    await sync_shop(resources, shop)
    assert (await sync_shop(resources, shop))["items_changed"] == 0
    cached = {slug: entry.body for slug in before if (entry := await resources.cache.get(shop.id, slug))}
    assert cached == {slug: await read_truth(resources, shop, slug) for slug in cached} != {}


async def read_truth(resources: Resources, shop: ShopRef, slug: str) -> bytes | None:
    document = (await load_registries(resources, shop.id, [slug])).get(slug)
    return document.body if document else None


async def test_sync_writes_although_redis_has_no_memory_left(
    settings: Settings, own_valkey: OwnValkey, demo: Demo, shop: ShopRef, item: SyncedItem
) -> None:
    async with open_resources(settings.model_copy(update={"redis_url": own_valkey.url})) as on_full_redis:
        on_full_redis.cache._hold_seconds = 0
        await on_full_redis.redis.learn_era()
        demo.execute("UPDATE registries SET version = version + 1, updated_at = now()")  # due for a refill
        await on_full_redis.redis.redis.config_set("maxmemory-policy", "noeviction")
        await on_full_redis.redis.redis.config_set("maxmemory", "1mb")
        item.variant.price += 1
        counts = await sync_shop(on_full_redis, shop)
    assert counts["items_changed"] > 0
    assert item.row("price") == (item.variant.price,)
