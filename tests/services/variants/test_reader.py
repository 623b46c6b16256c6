"""Facts of variants are read from Redis, and from Shopify once for all who wait."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.inventory import ProductStatus, Variant, VariantChange
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.valkey import OwnValkey
from tests.support.waiting import wait_until
from wishcraft.cache import keys
from wishcraft.cache.registries import CacheState
from wishcraft.domain.callers import Caller
from wishcraft.domain.variants import READING_FRESH, VariantFacts, VariantImage
from wishcraft.errors import ShopifyPaused, ShopifyRefused, ShopifyUnavailable, TooManyQueries
from wishcraft.resources import Resources, open_resources
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.variants.reader import QUERIES, FoundVariantFacts, VariantLimits, VariantReader
from wishcraft.settings import Settings
from wishcraft.shopify.pauses import Pauses
from wishcraft.store.shops import ShopRef

POINTS_PER_DESCRIBED: Final = 12
HOUR: Final = timedelta(hours=1)


@pytest.fixture
def shopify(simulator: Simulator, shop: ShopRef) -> SimulatedShop:
    """The shop in the Shopify simulator."""
    return simulator.shops[shop.domain]


@pytest.fixture
def variants(shopify: SimulatedShop) -> list[Variant]:
    """The shop's first variants."""
    return [each for number in shopify.inventory.variant_ids()[:6] if (each := shopify.inventory.find(number))]


@pytest.fixture
def caller(shop: ShopRef) -> Caller:
    """A customer of the shop."""
    return Caller(shop.id, "customer:1:9", 9)


@pytest.fixture
def products(resources: Resources) -> VariantReader:
    return VariantReader(resources)


def ids(variants: list[Variant]) -> list[int]:
    return [variant.variant_id for variant in variants]


async def put_back(resources: Resources, shop: ShopRef, found: FoundVariantFacts, age: timedelta) -> None:
    """Let the stored facts be so much older."""
    for number in found.facts:
        await resources.redis.redis.delete(f"{keys.of_shop(shop.id).variant_prefix}{number}")
    older = {
        number: facts._replace(
            observed_at=facts.observed_at - age,
            image=facts.image and facts.image._replace(observed_at=facts.image.observed_at - age),
        )
        for number, facts in found.facts.items()
    }
    await resources.variants.store(shop.id, await resources.variants.current_era(), older, shop.settings.cache_quota)


async def test_known_variants_cost_no_request_and_unknown_ones_one_together(
    products: VariantReader, caller: Caller, variants: list[Variant], shopify: SimulatedShop, resources: Resources
) -> None:
    first = await products.read(caller, ids(variants)[:4])
    assert (first.state, shopify.counters.requests) == (CacheState.MISS, 1)
    assert list(first.facts) == ids(variants)[:4]
    again = await VariantReader(resources).read(caller, ids(variants)[:4])
    assert (again, shopify.counters.requests) == (FoundVariantFacts(first.facts, CacheState.HIT), 1)
    both = await products.read(caller, [*ids(variants), 1])
    assert (both.state, shopify.counters.requests) == (CacheState.MISS, 2)
    assert both.facts[ids(variants)[0]] == first.facts[ids(variants)[0]]
    assert (both.facts[1].reading, len(both.facts)) == (None, 7)
    await resources.counters.flush()
    reads = {each.labels[0]: each.value for each in (await resources.counters.read())["product_reads_total"]}
    assert reads == {"miss": 4 + 3, "hit": 4 + 4}


async def test_concurrent_readers_share_one_request(
    products: VariantReader, caller: Caller, variants: list[Variant], shopify: SimulatedShop
) -> None:
    wanted = ids(variants)[:3]
    found = await asyncio.gather(*(products.read(caller, wanted) for _ in range(5)))
    assert [list(each.facts) for each in found] == [wanted] * 5
    assert shopify.counters.requests == 1
    assert not products._queries


async def test_reader_joins_the_requests_under_way_and_asks_for_the_rest(
    products: VariantReader, caller: Caller, variants: list[Variant], shopify: SimulatedShop
) -> None:
    a, b, c, d = ids(variants)[:4]
    found = await asyncio.gather(*(products.read(caller, each) for each in ([a, b], [b, c], [d], [d, a, c])))
    assert [list(each.facts) for each in found] == [[a, b], [b, c], [d], [d, a, c]]
    assert shopify.counters.points_spent == 4 * POINTS_PER_DESCRIBED


async def test_reader_that_leaves_does_not_take_the_answer_from_the_others(
    products: VariantReader, caller: Caller, variants: list[Variant], shopify: SimulatedShop
) -> None:
    leaving, staying = (asyncio.create_task(products.read(caller, ids(variants)[:1])) for _ in range(2))
    await wait_until(lambda: products._queries, pause=0)  # a query takes many turns of the event loop
    leaving.cancel()
    assert list((await staying).facts) == ids(variants)[:1]
    assert shopify.counters.requests == 1


async def test_changed_price_is_read_once_the_reading_is_no_longer_fresh(
    products: VariantReader, caller: Caller, variants: list[Variant], resources: Resources, shop: ShopRef
) -> None:
    first = await products.read(caller, ids(variants)[:2])
    variants[0].price += 1
    assert (await products.read(caller, ids(variants)[:2])).facts == first.facts
    await put_back(resources, shop, first, READING_FRESH)
    later = await products.read(caller, ids(variants)[:2])
    reading = later.facts[variants[0].variant_id].reading
    assert reading
    assert (reading.price, later.state) == (variants[0].price, CacheState.MISS)
    assert later.facts[variants[0].variant_id].observed_at > first.facts[variants[0].variant_id].observed_at


async def test_sync_renews_readings_and_keeps_their_images(
    products: VariantReader, caller: Caller, resources: Resources, shop: ShopRef, shopify: SimulatedShop, demo: Demo
) -> None:
    rows = demo.execute(
        """SELECT DISTINCT variant_id FROM registry_items i JOIN registries r ON r.id = registry_id
           WHERE i.shop_id = %s AND r.status = 'active' ORDER BY 1 LIMIT 10""",
        [shop.id],
    ).fetchall()
    wished = [int(str(variant_id)) for (variant_id,) in rows]
    first = await products.read(caller, wished)
    await put_back(resources, shop, first, HOUR)
    changed = shopify.inventory.find(wished[0])
    assert changed
    changed.quantity += 7
    await sync_shop(resources, shop, dry_run=True)
    assert (await resources.variants.get(shop.id, wished[:1]))[wished[0]].observed_at < datetime.now(UTC) - HOUR / 2
    await sync_shop(resources, shop)
    requests = shopify.counters.requests
    now = await products.read(caller, wished)
    assert (now.state, shopify.counters.requests) == (CacheState.HIT, requests)
    reading, image = now.facts[wished[0]].reading, now.facts[wished[0]].image
    assert reading
    assert image
    assert reading.inventory_quantity == changed.quantity
    assert str(image.url).endswith(f"/images/{changed.handle}.svg")


async def test_sync_notes_variants_that_are_gone(
    products: VariantReader, caller: Caller, resources: Resources, shop: ShopRef, shopify: SimulatedShop, demo: Demo
) -> None:
    query = """SELECT variant_id FROM registry_items i JOIN registries r ON r.id = registry_id
               WHERE i.shop_id = %s AND r.status = 'active' LIMIT 1"""
    row = demo.execute(query, [shop.id]).fetchone()
    assert row
    number = int(str(row[0]))
    await products.read(caller, [number])
    gone = shopify.inventory.find(number)
    assert gone
    shopify.inventory.change(gone, VariantChange({"deleted": True}))
    await sync_shop(resources, shop)
    requests = shopify.counters.requests
    found = await products.read(caller, [number])
    assert (found.facts[number].reading, found.state, shopify.counters.requests) == (None, CacheState.HIT, requests)


async def test_draft_is_asked_for_again_after_a_minute(
    products: VariantReader,
    caller: Caller,
    variants: list[Variant],
    shopify: SimulatedShop,
    resources: Resources,
    shop: ShopRef,
) -> None:
    number = variants[0].variant_id
    shopify.inventory.change(variants[0], VariantChange({}, ProductStatus.DRAFT))
    draft = await products.read(caller, [number])
    assert draft.facts[number].sold is None
    shopify.inventory.change(variants[0], VariantChange({}, ProductStatus.ACTIVE))
    assert (await products.read(caller, [number])).facts[number].sold is None
    await put_back(resources, shop, draft, timedelta(minutes=1))
    assert (await products.read(caller, [number])).facts[number].sold


@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.FORBIDDEN])
async def test_facts_replace_the_answer_while_shopify_does_not_answer_if_all_are_known(
    products: VariantReader,
    caller: Caller,
    variants: list[Variant],
    shopify: SimulatedShop,
    resources: Resources,
    shop: ShopRef,
    kind: FaultKind,
) -> None:
    first = await products.read(caller, ids(variants)[:2])
    await put_back(resources, shop, first, 12 * HOUR)
    shopify.faults.set(Fault(kind, remaining=None))
    products.limits = VariantLimits(shopify_seconds=0.2)
    stale = await products.read(caller, ids(variants)[:2])
    assert (stale.state, list(stale.facts)) == (CacheState.STALE, ids(variants)[:2])
    with pytest.raises((ShopifyUnavailable, ShopifyRefused)):
        await products.read(caller, ids(variants)[:3])


async def test_shopify_that_does_not_answer_is_not_asked_again_for_some_seconds(
    resources: Resources, caller: Caller, variants: list[Variant], shopify: SimulatedShop
) -> None:
    seconds = [0.0]
    products = VariantReader(resources, Pauses(5, lambda: seconds[0]), VariantLimits(shopify_seconds=0.2))
    shopify.faults.set(Fault(FaultKind.MALFORMED, remaining=None))
    with pytest.raises(ShopifyUnavailable):
        await products.read(caller, ids(variants)[:1])
    products.limits = VariantLimits()
    shopify.faults.set(Fault(FaultKind.MALFORMED, remaining=0))
    for number in ids(variants)[:3]:
        with pytest.raises(ShopifyPaused) as refused:
            await products.read(caller, [number])
        assert refused.value.retry_after == 5
    await resources.counters.flush()
    [paused] = (await resources.counters.read())["shopify_paused_total"]
    assert paused.value == 3
    seconds[0] = 5.0
    # Who may cause no query does not take the turn of the first one.
    products.limits = VariantLimits(queries=replace(QUERIES, name="none", quota=0))
    with pytest.raises(TooManyQueries):
        await products.read(caller, ids(variants)[:1])
    products.limits = VariantLimits()
    assert (await products.read(caller, ids(variants)[:1])).state is CacheState.MISS
    assert (await products.read(caller, ids(variants)[1:2])).state is CacheState.MISS


async def test_refusal_of_shopify_is_an_answer_and_begins_no_pause(
    products: VariantReader, caller: Caller, variants: list[Variant], shopify: SimulatedShop
) -> None:
    shopify.faults.set(Fault(FaultKind.FORBIDDEN, remaining=1))
    with pytest.raises(ShopifyRefused):
        await products.read(caller, ids(variants)[:1])
    assert (await products.read(caller, ids(variants)[:1])).state is CacheState.MISS


async def test_variant_that_cannot_be_stored_is_in_no_answer(
    products: VariantReader, caller: Caller, variants: list[Variant], shop: ShopRef, resources: Resources
) -> None:
    first = await products.read(caller, ids(variants)[:2])
    variants[0].price = Decimal("1E+11")
    await put_back(resources, shop, first, HOUR)
    assert list((await products.read(caller, ids(variants)[:2])).facts) == ids(variants)[1:2]


async def test_caller_may_cause_a_limited_number_of_queries(
    products: VariantReader, caller: Caller, variants: list[Variant]
) -> None:
    products.limits = VariantLimits(
        queries=replace(QUERIES, quota=2, seconds=10**9),
        server_queries=replace(QUERIES, name="s", quota=3, seconds=10**9),
    )
    for number in ids(variants)[:2]:
        await products.read(caller, [number])
    with pytest.raises(TooManyQueries) as refused:
        await products.read(caller, ids(variants)[:3])
    assert refused.value.retry_after > 0
    assert (await products.read(caller, ids(variants)[:2])).state is CacheState.HIT  # without a query
    await products.read(Caller(caller.shop_id, "customer:1:10", 10), ids(variants)[2:3])
    server = Caller(caller.shop_id, "key:x")
    for number in ids(variants)[3:6]:
        await products.read(server, [number])
    with pytest.raises(TooManyQueries):
        await products.read(server, [1])


@pytest.fixture
async def without_redis(
    settings: Settings, demo: Demo, own_valkey: OwnValkey, simulator: Simulator
) -> AsyncIterator[Resources]:
    """Resources whose Redis has stopped."""
    own_valkey.kill()
    async with open_resources(settings.model_copy(update={"redis_url": own_valkey.url})) as opened:
        yield opened


async def test_without_redis_shopify_is_asked_and_a_sync_without_changes_ends(
    without_redis: Resources, caller: Caller, variants: list[Variant], shopify: SimulatedShop, shop: ShopRef
) -> None:
    products = VariantReader(without_redis)
    for requests in (1, 2):
        found = await products.read(caller, ids(variants)[:2])
        assert (found.state, shopify.counters.requests) == (CacheState.BYPASS, requests)
        assert list(found.facts) == ids(variants)[:2]
    assert (await sync_shop(without_redis, shop))["items_changed"] == 0


async def test_facts_of_shops_with_the_same_variant_are_apart(resources: Resources, shop: ShopRef) -> None:
    now = datetime.now(UTC)
    known = {1: VariantFacts(None, now, VariantImage("/a.svg", now))}
    await resources.variants.store(shop.id, await resources.variants.current_era(), known, shop.settings.cache_quota)
    assert await resources.variants.get(shop.id, [1]) == known
    assert await resources.variants.get(10 * shop.id + 1, [1]) == {}
