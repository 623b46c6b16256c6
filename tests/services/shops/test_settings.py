import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.hypothesis_profiles import examples
from wishcraft.domain.cached_registry import CachedRegistry, Quota
from wishcraft.domain.callers import Caller
from wishcraft.domain.invariants import WARNING_COUNTS
from wishcraft.domain.registries import Priority
from wishcraft.domain.share_links import share_template
from wishcraft.errors import Invalid, LimitReached, PreconditionFailed, RunStopped
from wishcraft.resources import Resources, open_resources
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.invitations.send import invite_shop
from wishcraft.services.operations.invariants import check_shop
from wishcraft.services.registries.items import add_item, remove_item
from wishcraft.services.registries.reader import RegistryReader, load_registries
from wishcraft.services.registries.warm import warm_shop
from wishcraft.services.registries.write import ChangeRequest
from wishcraft.services.reminders.send import remind_shop
from wishcraft.services.shops.settings import change_settings, read_settings, replace_outdated_entries, settings_etag
from wishcraft.services.variants.reader import VariantReader
from wishcraft.settings import Settings
from wishcraft.store import registries, registry_items, shops
from wishcraft.store.audit_log import Actor
from wishcraft.store.registry_items import NewItem
from wishcraft.store.schema import ShopSettings
from wishcraft.store.shops import ShopRef

SHOP, STOCK = "maple-and-pine.myshopify.com", 8


@pytest.fixture(autouse=True)
def _stocked(demo: Demo) -> None:
    """All items are tracked, with 8 pieces in stock, and all shops have the default settings, with a threshold of 5."""
    demo.execute("UPDATE registry_items SET tracked = true, inventory_quantity = 8, status = 'active'")
    demo.execute("UPDATE shops SET settings = '{}'")


def actor(shop: ShopRef) -> Actor:
    return Actor(shop.id, "test")


def slugs(demo: Demo, shop: ShopRef) -> list[str]:
    """The slugs of the shop's active registries with items."""
    query = (
        "SELECT slug FROM registries r WHERE shop_id = %s AND status = 'active'"
        " AND EXISTS (SELECT FROM registry_items WHERE registry_id = r.id) ORDER BY id"
    )
    return [slug for (slug,) in demo.execute(query, [shop.id]).fetchall()]


def versions(demo: Demo, shop: ShopRef) -> dict[str, int]:
    found = demo.execute("SELECT slug, version FROM registries WHERE shop_id = %s", [shop.id]).fetchall()
    return dict(found)


async def shown(resources: Resources, shop: ShopRef, slug: str) -> str:
    """The stock levels that a reader sees."""
    body = (await RegistryReader(resources).read(shop.id, slug)).entry.body.decode()
    return "low" if '"stock":"low"' in body else "in_stock"


async def test_refresh_is_done_once_in_spite_of_concurrent_calls(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    await warm_shop(resources, shop)
    before = versions(demo, shop)
    await change_settings(resources, actor(shop), {"low_stock_threshold": 8})
    counts = await asyncio.gather(*(replace_outdated_entries(resources, shop.id) for _ in range(3)))
    assert sum(counts) > 0
    assert sorted(counts)[:2] == [0, 0]
    assert versions(demo, shop) == before
    assert await shown(resources, shop, slugs(demo, shop)[0]) == "low"


async def test_new_share_link_is_shown_by_every_cached_registry(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    await warm_shop(resources, shop)
    for template in (TEMPLATE, None):
        await change_settings(resources, actor(shop), {"share_url": template, "low_stock_threshold": 3})
        await replace_outdated_entries(resources, shop.id)
        for slug in slugs(demo, shop):
            result = await RegistryReader(resources).read(shop.id, slug)
            in_use = share_template(template, SHOP, resources.shopify_origin)
            assert json.loads(result.entry.body)["share_url"] == in_use.replace("{slug}", slug)


async def test_refresh_fills_no_registry_that_was_not_cached(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    cached, other = slugs(demo, shop)[:2]
    await RegistryReader(resources).read(shop.id, cached)
    await change_settings(resources, actor(shop), {"low_stock_threshold": 8})
    await replace_outdated_entries(resources, shop.id)
    assert set(await resources.cache.headers(shop.id, [cached, other])) == {cached}


async def test_load_that_began_before_a_new_threshold_does_not_fill_the_cache(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    slug = slugs(demo, shop)[0]

    async def load_slowly() -> CachedRegistry:
        loaded = (await load_registries(resources, shop.id, [slug]))[slug]
        await change_settings(resources, actor(shop), {"low_stock_threshold": 8})
        await replace_outdated_entries(resources, shop.id)
        return loaded

    await resources.cache.read(shop.id, slug, load_slowly)
    assert await shown(resources, shop, slug) == "low"


async def test_check_of_invariants_does_the_rest_of_a_refresh_that_was_stopped(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    async def stop(_done: int, _total: int) -> None:
        raise RunStopped

    await warm_shop(resources, shop)
    await change_settings(resources, actor(shop), {"low_stock_threshold": 8})
    with pytest.raises(RunStopped):
        await replace_outdated_entries(resources, shop.id, stop)
    slug = slugs(demo, shop)[0]
    assert await shown(resources, shop, slug) == "in_stock"
    left = await check_shop(resources, shop, repair=False, sample=5000)
    assert not any(left[name] for name in WARNING_COUNTS)  # nothing is wrong: it is under way
    counts = await check_shop(resources, shop, repair=True, sample=5000)
    assert counts["registries_refreshed"] >= len(slugs(demo, shop))
    assert not any(counts[name] for name in WARNING_COUNTS)
    assert await shown(resources, shop, slug) == "low"


async def test_threshold_changed_again_during_a_refresh_is_not_lost(
    resources: Resources, demo: Demo, shop: ShopRef
) -> None:
    changed: list[object] = []

    async def change_again(done: int, total: int) -> None:
        if done == total - 1 and not changed:  # all others show the level by 8 now
            changed.append(await change_settings(resources, actor(shop), {"low_stock_threshold": 5}))

    await warm_shop(resources, shop)
    await change_settings(resources, actor(shop), {"low_stock_threshold": 8})
    await replace_outdated_entries(resources, shop.id, change_again, batch_size=1)
    assert changed
    for slug in slugs(demo, shop):
        entry = await resources.cache.get(shop.id, slug)
        assert entry
        assert entry.body == (await load_registries(resources, shop.id, [slug]))[slug].body
    assert demo.execute("SELECT outdated_stock FROM shops WHERE id = %s", [shop.id]).fetchone() == (None,)


async def test_only_one_of_two_changes_with_the_same_etag_succeeds(resources: Resources, shop: ShopRef) -> None:
    etag = settings_etag(await read_settings(resources, shop.id))
    changes: list[dict[str, Any]] = [{"low_stock_threshold": 3}, {"max_items_per_registry": 50}]
    results = await asyncio.gather(
        *(change_settings(resources, actor(shop), each, if_match=etag) for each in changes), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in results) == ["PreconditionFailed", "SettingsChange"]
    assert isinstance(next(each for each in results if isinstance(each, Exception)), PreconditionFailed)


async def test_concurrent_changes_of_different_settings_are_all_kept(resources: Resources, shop: ShopRef) -> None:
    changes: list[dict[str, Any]] = [
        {"low_stock_threshold": 3}, {"max_items_per_registry": 50}, {"brand_colour": "#000000"},
    ]  # fmt: skip
    await asyncio.gather(*(change_settings(resources, actor(shop), each) for each in changes))
    stored = await read_settings(resources, shop.id)
    assert stored.settings == ShopSettings(low_stock_threshold=3, max_items_per_registry=50, brand_colour="#000000")


TEMPLATE = "https://shop.example/pages/gifts?list={slug}"
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "password_protection": st.booleans(),
    "email_notifications": st.booleans(),
    "low_stock_threshold": st.sampled_from([0, 1, 7, 8, 9, 999_999, 1_000_000, -1, 10**30, "8", 8.0, None]),
    "max_items_per_registry": st.sampled_from([1, 1000, 0, 1001, "5"]),
    "cache_quota_entries": st.sampled_from([0, 1, 2, 10_000_000, 10_000_001, -1, 10**30]),
    "cache_quota_bytes": st.sampled_from([0, 1, 5_000, 2**40, 2**40 + 1, -1, 2**63]),
    "brand_colour": st.sampled_from(["#ABCDEF", "#000000", "red", "", "#12345\N{FULLWIDTH DIGIT SIX}", 5]),
    "share_url": st.sampled_from([None, TEMPLATE, "", "http://shop.example/{slug}", "https://shop.example/", 5]),
    "gift_messages": st.just(value=True),
}
JUNK = st.sampled_from(
    ["https://shop.example:8080/{slug}", None, -1, 0, 3, 8, 10**30, 1.5, True, "x", "8", [], {}, [8], {"a": 1}, "#12"]
)


async def use(resources: Resources, settings: Settings, slug: str, unlisted: int) -> None:
    """Use a shop's settings, as jobs and readers do."""
    async with resources.db.repeatable_read() as session:
        [shop] = await shops.find_active(session, [SHOP])
    counts = await warm_shop(resources, shop)
    assert counts["current"] + counts["warmed"] <= shop.settings.cache_quota_entries
    body = (await RegistryReader(resources).read(shop.id, slug)).entry.body.decode()
    level = "low" if shop.settings.low_stock_threshold >= STOCK else "in_stock"
    assert f'"stock":"{level}"' in body
    template = share_template(shop.settings.share_url, SHOP, settings.shopify_origin)
    assert f'"share_url":"{template.replace("{slug}", slug)}"' in body
    used = (await resources.usage.read([shop.id]))[shop.id]
    assert used.entries <= shop.settings.cache_quota_entries
    assert used.bytes_held <= shop.settings.cache_quota_bytes
    counts = await check_shop(resources, shop, repair=True, sample=100)
    assert not any(counts[name] for name in WARNING_COUNTS)
    synced = await sync_shop(resources, shop)
    assert synced["variants"] > synced["unreadable"] == 0
    for send in (remind_shop, invite_shop):
        counts = await send(resources, settings, shop, now=datetime(2026, 3, 14, 15, tzinfo=UTC))
        assert (counts["failed"], counts["held"]) == (0, 0)
        assert shop.settings.email_notifications or not counts["sent"]
    await add_and_remove(resources, shop, slug, unlisted)


async def add_and_remove(resources: Resources, shop: ShopRef, slug: str, variant_id: int) -> None:
    """Look a variant up, and add it if the settings permit one more item."""
    async with resources.db.autocommit() as session:
        registry = await registries.find_one(session, shop.id, slug)
        assert registry
        slots = await registry_items.find_slots(session, shop.id, registry.id, variant_id)
    owner = Caller(shop.id, f"customer:{shop.id}:{registry.owner}", registry.owner)
    reader = VariantReader(resources)
    assert variant_id in (await reader.read(owner, [variant_id])).facts
    new, change = NewItem(variant_id, 1, Priority.LOW, ""), ChangeRequest(owner, slug, "item.added")
    if slots.shown >= shop.settings.max_items_per_registry:
        with pytest.raises(LimitReached):
            await add_item(resources, reader, change, new, None)
        return
    await add_item(resources, reader, change, new, None)
    async with resources.db.autocommit() as session:
        added = await registry_items.find_slots(session, shop.id, registry.id, variant_id)
    assert added.same_id
    await remove_item(resources, change, added.same_id)


@pytest.mark.hypothesis
@pytest.mark.long
def test_accepted_settings_leave_no_state_that_a_job_or_a_read_fails_on(
    runner: asyncio.Runner, settings_with_mail: Settings, demo: Demo, simulator: Simulator
) -> None:
    context = open_resources(settings_with_mail, redis_timeout=5)
    resources = runner.run(context.__aenter__())
    slug = runner.run(first_slug(resources, demo))
    inventory = simulator.shops[SHOP].inventory
    for each in map(inventory.find, inventory.variant_ids()):
        assert each
        each.tracked, each.quantity, each.by_hand = True, STOCK, True
    wished = {number for (number,) in demo.execute("SELECT variant_id FROM registry_items WHERE shop_id = 1")}
    unlisted = next(number for number in inventory.variant_ids() if number not in wished)
    names = st.sampled_from([*ShopSettings.model_fields, "gift_messages"])
    objects = st.dictionaries(names, JUNK)

    @hypothesis.settings(max_examples=examples(quick=20, deep=120), suppress_health_check=list(HealthCheck))
    @given(stored=st.one_of(st.none(), objects, JUNK), changes=st.fixed_dictionaries({}, optional=VALUES))
    def change(stored: object, changes: dict[str, Any]) -> None:
        if stored is not None:  # by a person with SQL, who empties the cache too
            demo.execute("UPDATE shops SET settings = %s WHERE id = 1", [json.dumps(stored)])
            runner.run(resources.cache.trim(1, Quota(0, 0)))
        before = demo.execute("SELECT settings, settings_version FROM shops WHERE id = 1").fetchone()
        try:
            runner.run(change_settings(resources, Actor(1, "test"), changes))
        except Invalid:
            assert demo.execute("SELECT settings, settings_version FROM shops WHERE id = 1").fetchone() == before
        else:
            now = demo.execute("SELECT settings, settings_version FROM shops WHERE id = 1").fetchone()
            assert now
            assert now == before or ShopSettings.model_validate(now[0])
        runner.run(replace_outdated_entries(resources, 1))
        runner.run(use(resources, settings_with_mail, slug, unlisted))

    change()
    runner.run(context.__aexit__(None, None, None))


async def first_slug(resources: Resources, demo: Demo) -> str:
    async with resources.db.repeatable_read() as session:
        [shop] = await shops.find_active(session, [SHOP])
    assert shop.id == 1
    return slugs(demo, shop)[0]
