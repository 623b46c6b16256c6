import asyncio
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.support.aliases import Demo
from wishcraft.cache import keys
from wishcraft.cache.coherence import now_ms
from wishcraft.domain.cached_registry import LIFETIME_AFTER_CHANGE, CachedRegistry
from wishcraft.errors import DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.registries import reader, warm
from wishcraft.services.registries.reader import RegistryReader, load_registries
from wishcraft.services.registries.warm import FRESH_FOR, warm_shop
from wishcraft.store.shops import ShopRef


def active_slugs(demo: Demo, shop: ShopRef) -> list[str]:
    rows = demo.execute("SELECT slug FROM registries WHERE shop_id = %s AND status = 'active' ORDER BY id", [shop.id])
    return [slug for (slug,) in rows]


def test_entry_that_a_warm_filled_is_not_due_in_the_next_run_unless_near_its_event() -> None:
    between_runs = timedelta(minutes=30)
    assert LIFETIME_AFTER_CHANGE * (1 - keys.SPREAD) - between_runs > FRESH_FOR


async def test_every_active_registry_is_a_hit_after_a_warm(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    slugs = active_slugs(demo, shop)
    counts = await warm_shop(resources, shop)
    assert counts == {"registries": len(slugs), "current": 0, "warmed": len(slugs), "skipped": 0}
    for slug in slugs:
        assert (await RegistryReader(resources).read(shop.id, slug)).state == "hit"


async def test_a_second_warm_reads_no_rows_of_what_is_current(
    resources: Resources, shop: ShopRef, queries: list[str]
) -> None:
    first = await warm_shop(resources, shop)
    del queries[:]
    assert await warm_shop(resources, shop) == first | {"current": first["registries"], "warmed": 0}
    assert len(queries) == 1
    assert not [query for query in queries if "registry_items" in query]


async def test_what_a_warm_stored_is_counted_for_the_metrics(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    await resources.cache.invalidate(shop.id, {active_slugs(demo, shop)[0]: 1_000_000})  # by a writer
    counts = await warm_shop(resources, shop)
    await resources.counters.flush()
    fills = (await resources.counters.read())["cache_fills_total"]
    counted = {each.labels[0]: each.value for each in fills}
    assert counted == {"stored": counts["warmed"], "refused": 1}
    assert counts["skipped"] == 1


async def test_stable_registries_are_fresh_for_longer_than_those_near_their_event(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    stable, near, *_ = active_slugs(demo, shop)
    age = "UPDATE registries SET updated_at = now() - interval '90 days', event_date = now() + %s * interval '1 day'"
    for slug, days in ((stable, 60), (near, 3)):
        demo.execute(f"{age} WHERE slug = %s", [days, slug])
    before_ms = now_ms()
    await warm_shop(resources, shop)
    headers = await resources.cache.headers(shop.id, [stable, near])
    hours = {slug: (header.soft_expiry_ms - before_ms) / 3_600_000 for slug, header in headers.items()}
    assert 0.8 * 12 <= hours[stable] < 12.1
    assert 0.8 <= hours[near] < 1.1


async def test_force_writes_every_entry_again(resources: Resources, shop: ShopRef) -> None:
    first = await warm_shop(resources, shop)
    assert (await warm_shop(resources, shop, force=True))["warmed"] == first["registries"]


async def test_a_warm_repairs_an_entry_that_is_behind(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    await warm_shop(resources, shop)
    slug = active_slugs(demo, shop)[0]
    # A write without invalidation, as after a lost floor and a killed writer.
    demo.execute("UPDATE registries SET version = version + 1, title = 'New' WHERE slug = %s", [slug])
    assert (await warm_shop(resources, shop))["warmed"] == 1
    entry = (await RegistryReader(resources).read(shop.id, slug)).entry
    assert entry
    assert b'"New"' in entry.body


async def test_a_warm_never_writes_an_older_version_over_a_newer_one(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    slug = active_slugs(demo, shop)[0]
    demo.execute("UPDATE registries SET version = 9 WHERE slug = %s", [slug])
    await warm_shop(resources, shop)
    demo.execute("UPDATE registries SET version = 8 WHERE slug = %s", [slug])
    await warm_shop(resources, shop, force=True)
    assert (await resources.cache.headers(shop.id, [slug]))[slug].version == 9


async def test_a_warm_leaves_alone_what_a_writer_is_about_to_change(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    slug = active_slugs(demo, shop)[0]
    await resources.cache.invalidate(shop.id, {slug: 2})  # its commit has not come yet: the database is at version 1
    assert (await warm_shop(resources, shop))["skipped"] == 1
    assert await resources.cache.get(shop.id, slug) is None


async def test_change_during_a_warm_is_not_overwritten_by_the_older_load(
    resources: Resources, demo: Demo, shop: ShopRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = active_slugs(demo, shop)[0]

    async def load_before_the_change(*args: Any) -> dict[str, CachedRegistry]:
        loaded = await load_registries(*args)
        if changed in loaded:
            await resources.cache.invalidate(shop.id, {changed: 2})
            demo.execute("UPDATE registries SET version = 2 WHERE slug = %s", [changed])
        return loaded

    with monkeypatch.context() as patch:
        patch.setattr(reader, "load_registries", load_before_the_change)
        assert (await warm_shop(resources, shop))["skipped"] == 1
    assert await resources.cache.get(shop.id, changed) is None
    assert (await warm_shop(resources, shop))["warmed"] == 1
    assert (await resources.cache.headers(shop.id, [changed]))[changed].version == 2


@pytest.mark.usefixtures("demo_shops")
async def test_few_batches_are_loaded_at_once(
    resources: Resources, shop: ShopRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_progress, most = 0, 0
    enough = asyncio.Event()

    async def load(*args: Any) -> dict[str, CachedRegistry]:
        nonlocal in_progress, most
        in_progress += 1
        most = max(most, in_progress)
        if most == warm._BATCHES_AT_ONCE:
            enough.set()
        await enough.wait()
        loaded = await load_registries(*args)
        in_progress -= 1
        return loaded

    monkeypatch.setattr(reader, "load_registries", load)
    assert (await warm_shop(resources, shop, batch_size=5))["warmed"] > 5 * warm._BATCHES_AT_ONCE
    assert most == warm._BATCHES_AT_ONCE


async def test_batch_that_fails_leaves_no_task_and_no_lease(
    resources: Resources, demo: Demo, shop: ShopRef, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = active_slugs(demo, shop)[0]

    async def load(*args: Any) -> dict[str, CachedRegistry]:
        loaded = await load_registries(*args)
        if fails in loaded:
            raise DatabaseUnavailable("PostgreSQL does not answer")
        return loaded

    monkeypatch.setattr(reader, "load_registries", load)
    tasks = asyncio.all_tasks()
    with pytest.raises(DatabaseUnavailable):
        await warm_shop(resources, shop, batch_size=1)
    assert asyncio.all_tasks() == tasks
    assert [key async for key in redis.scan_iter(f"{keys.of_shop(shop.id).lease_prefix}*")] == []
    assert await resources.cache.get(shop.id, fails) is None


async def test_the_most_viewed_come_first_within_the_shops_quota(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    favourite = active_slugs(demo, shop)[-1]
    demo.execute("DELETE FROM registry_views")
    demo.execute(
        """INSERT INTO registry_views (shop_id, registry_id, day, views)
           SELECT shop_id, id, current_date, 1 FROM registries WHERE slug = %s""",
        [favourite],
    )
    small = shop._replace(settings=shop.settings.model_copy(update={"cache_quota_entries": 1}))
    assert (await warm_shop(resources, small))["warmed"] == 1
    assert list(await resources.cache.headers(shop.id, active_slugs(demo, shop))) == [favourite]


@pytest.mark.parametrize("quota", ["cache_quota_entries", "cache_quota_bytes"])
async def test_shop_without_a_quota_loads_nothing_and_says_so(
    resources: Resources, demo: Demo, shop: ShopRef, queries: list[str], quota: str
) -> None:
    active = len(active_slugs(demo, shop))
    without = shop._replace(settings=shop.settings.model_copy(update={quota: 0}))
    for force in (False, True):
        counts = await warm_shop(resources, without, force=force)
        assert counts == {"registries": active, "current": 0, "warmed": 0, "skipped": 0, "without_quota": active}
    assert not [query for query in queries if "registry_items" in query]
    await resources.counters.flush()
    assert not (await resources.counters.read()).get("cache_fills_total")


async def test_entries_warmed_together_do_not_expire_together(
    resources: Resources, demo: Demo, shop: ShopRef, redis: Redis
) -> None:
    await warm_shop(resources, shop)
    slugs = active_slugs(demo, shop)
    lives = [await redis.pttl(keys.entry_key(shop.id, slug)) for slug in slugs]
    assert len(set(lives)) == len(slugs)
    assert max(lives) - min(lives) > 1000  # milliseconds: far more than filling them took
