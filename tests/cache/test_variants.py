"""Facts of variants never go back in time, and take no more of Redis than their shop's quota."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.support.hypothesis_profiles import examples
from tests.support.valkey import OwnValkey
from tests.support.variants import reading
from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.cache.coherence import Lease, now_ms
from wishcraft.cache.entries import make_entry
from wishcraft.cache.registries import RegistryCache
from wishcraft.cache.scripts import FillOutcome
from wishcraft.cache.usage import Usage, UsageCounters
from wishcraft.cache.variants import FORMAT, VariantCache
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry, Quota
from wishcraft.domain.inventory import VariantReading
from wishcraft.domain.variants import VariantFacts, VariantImage
from wishcraft.errors import CacheUnavailable

SHOP, OTHER = 7, 77
PLENTY = Quota(1000, 10**9)
START = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def variants(server: Server) -> VariantCache:
    return VariantCache(server)


@pytest.fixture
def usage(server: Server) -> UsageCounters:
    return UsageCounters(server)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def facts(seconds: int, image: int | None = None, *, gone: bool = False) -> VariantFacts:
    """Facts read after so many seconds, which their stock and image say."""
    known = None if image is None else VariantImage(f"/{image}.svg", at(image))
    return VariantFacts(None if gone else reading(inventory_quantity=seconds), at(seconds), known)


async def store(
    variants: VariantCache, each: VariantFacts | Mapping[int, VariantFacts], quota: Quota = PLENTY, shop: int = SHOP
) -> FillOutcome:
    """Store facts of variant 5, or of several; the last one's outcome."""
    several = {5: each} if isinstance(each, VariantFacts) else each
    return list((await variants.store(shop, await variants.current_era(), several, quota)).values())[-1]


async def used(usage: UsageCounters) -> Usage:
    return (await usage.read([SHOP]))[SHOP]


async def bytes_of(redis: Redis, *numbers: int) -> int:
    return sum([await redis.strlen(f"{keys.of_shop(SHOP).variant_prefix}{number}") for number in numbers])


async def test_facts_are_read_as_they_were_stored(variants: VariantCache) -> None:
    known = {
        5: facts(1, 2),
        6: VariantFacts(reading(compare_at_price=reading().price), at(3), VariantImage(None, at(4))),
        7: facts(5),
        8: facts(6, gone=True),
    }
    assert await store(variants, known) is FillOutcome.FILLED
    assert await variants.get(SHOP, [8, 5, 6, 7, 9]) == known
    assert await variants.get(OTHER, [5, 6, 7, 8]) == {}


@settings(
    max_examples=examples(quick=25, deep=200),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(order=st.permutations([(1, 1), (2, None), (3, 3), (4, None), (4, 4)]), gone=st.sets(st.integers(1, 4)))
async def test_newest_reading_and_image_stay_in_whatever_order_they_arrive(
    variants: VariantCache, redis: Redis, order: list[tuple[int, int | None]], gone: set[int]
) -> None:
    await redis.delete(f"{keys.of_shop(SHOP).variant_prefix}5")
    newest, newest_image = 0, None
    for seconds, image in order:
        outcome = await store(variants, facts(seconds, image, gone=seconds in gone))
        is_newer = seconds > newest or (image or 0) > (newest_image or 0)
        assert outcome is (FillOutcome.FILLED if is_newer else FillOutcome.NEWER_THERE)
        newest = max(newest, seconds)
        newest_image = max(newest_image or 0, image or 0) or None
        assert (await variants.get(SHOP, [5]))[5] == facts(newest, newest_image, gone=newest in gone)


async def test_facts_of_another_era_are_missing_and_late_ones_are_refused(
    variants: VariantCache, server: Server, redis: Redis
) -> None:
    before = await variants.current_era()
    await store(variants, facts(9, 9))
    await redis.hset(keys.ERA, "era", b"another!")  # as after a restart or failover
    assert await variants.store(SHOP, before, {5: facts(10)}, PLENTY) == {5: FillOutcome.OTHER_ERA}
    await server.learn_era()
    assert await variants.get(SHOP, [5]) == {}
    assert await store(variants, facts(8)) is FillOutcome.FILLED  # the newer one of the other era does not count
    assert await variants.get(SHOP, [5]) == {5: facts(8)}


async def test_restart_from_a_snapshot_brings_no_older_facts_back(own_server: Server, own_valkey: OwnValkey) -> None:
    variants = VariantCache(own_server)
    await store(variants, facts(1, 1))
    await own_server.redis.save()
    era = await variants.current_era()
    await store(variants, facts(2, 2))
    own_valkey.kill()
    with pytest.raises(CacheUnavailable):
        await variants.get(SHOP, [5])
    own_valkey.start()
    assert await variants.get(SHOP, [5]) == {}
    assert await variants.store(SHOP, era, {5: facts(3)}, PLENTY) == {5: FillOutcome.OTHER_ERA}


async def test_silent_redis_is_noticed_by_every_command(own_server: Server, own_valkey: OwnValkey) -> None:
    variants = VariantCache(own_server)
    era = await variants.current_era()
    own_valkey.kill()
    for command in (
        variants.get(SHOP, [5, 6]),
        variants.current_era(),
        variants.store(SHOP, era, {5: facts(1)}, PLENTY),
        variants.mark_outdated(SHOP, {5: at(1)}),
    ):
        with pytest.raises(CacheUnavailable):
            await command


def test_format_says_which_fields_a_reading_has() -> None:
    fields_of_format_2 = (
        "variant_id product_id inventory_item_id handle product_title variant_title price compare_at_price tracked "
        "inventory_quantity inventory_policy product_active"
    )
    # Raise the format with every change of the fields.
    assert (FORMAT, " ".join(field.name for field in fields(VariantReading))) == (2, fields_of_format_2)


async def test_facts_of_another_format_are_missing_and_are_replaced(variants: VariantCache, redis: Redis) -> None:
    await store(variants, facts(2))
    await redis.setrange(f"{keys.of_shop(SHOP).variant_prefix}5", 0, bytes([FORMAT + 1]).decode())
    assert await variants.get(SHOP, [5]) == {}
    assert await store(variants, facts(1)) is FillOutcome.FILLED
    assert await variants.get(SHOP, [5]) == {5: facts(1)}


async def test_outdated_facts_are_missing_and_only_newer_ones_are_stored(
    variants: VariantCache, usage: UsageCounters, redis: Redis
) -> None:
    await store(variants, {5: facts(1, 1), 6: facts(1)})
    await variants.mark_outdated(SHOP, {5: at(3), 7: at(3)})
    assert set(await variants.get(SHOP, [5, 6, 7])) == {6}
    now = await used(usage)
    assert (now.products, now.bytes_held) == (1, await bytes_of(redis, 6))
    assert 0 < await redis.ttl(f"{keys.of_shop(SHOP).variant_prefix}7") <= 300
    for number in (5, 7):  # as of a query that was under way, with an image or without one
        assert await store(variants, {number: facts(2, 9)}) is FillOutcome.NEWER_THERE
        assert await store(variants, {number: facts(2)}) is FillOutcome.NEWER_THERE
    assert await variants.get(SHOP, [5, 7]) == {}
    assert await store(variants, facts(3, 3)) is FillOutcome.FILLED
    await variants.mark_outdated(SHOP, {5: at(2)})  # late
    assert await variants.get(SHOP, [5]) == {5: facts(3, 3)}
    assert await store(variants, facts(1), shop=OTHER) is FillOutcome.FILLED
    assert (await used(usage)).products == 2


async def test_lifetimes_follow_the_last_reading(variants: VariantCache, redis: Redis) -> None:
    key = f"{keys.of_shop(SHOP).variant_prefix}5"
    await store(variants, facts(1, gone=True))
    assert 45 < await redis.ttl(key) <= 60
    await store(variants, facts(2))
    assert 0.79 * 86_400 < await redis.ttl(key) <= 86_400
    await redis.expire(key, 1000)
    await store(variants, facts(1, 3))  # an older reading with a newer image
    assert await redis.ttl(key) <= 1000


async def test_variants_count_towards_the_quota_once_and_by_their_size(
    variants: VariantCache, usage: UsageCounters, redis: Redis
) -> None:
    await store(variants, {5: facts(1), 6: facts(1)})
    await store(variants, {5: facts(2, 2), 6: facts(2, gone=True)})
    now = await used(usage)
    assert (now.products, now.entries, now.evictions) == (2, 0, 0)
    assert now.bytes_held == await bytes_of(redis, 5, 6)


async def test_shop_at_its_quota_renews_variants_and_takes_no_further_ones(
    variants: VariantCache, usage: UsageCounters
) -> None:
    two = Quota(2, 10**9)
    await store(variants, {5: facts(1), 6: facts(1)}, two)
    assert await store(variants, {7: facts(1)}, two) is FillOutcome.OVER_QUOTA
    assert await store(variants, {5: facts(2)}, two) is FillOutcome.FILLED
    assert set(await variants.get(SHOP, [5, 6, 7])) == {5, 6}
    assert await store(variants, {5: facts(1)}, two, OTHER) is FillOutcome.FILLED
    full = Quota(1000, (await used(usage)).bytes_held)
    assert await store(variants, {7: facts(1)}, full) is FillOutcome.OVER_QUOTA
    assert await store(variants, {5: facts(3)}, Quota(0, 0)) is FillOutcome.OVER_QUOTA  # a lower quota than before
    assert set(await variants.get(SHOP, [5, 6])) == {6}
    assert (await used(usage)).products == 1


async def test_variants_that_have_expired_give_up_their_places(
    variants: VariantCache, usage: UsageCounters, redis: Redis
) -> None:
    two, shop = Quota(2, 10**9), keys.of_shop(SHOP)
    await store(variants, {5: facts(1), 6: facts(1)}, two)
    await redis.delete(f"{shop.variant_prefix}5")
    await redis.zadd(shop.variant_index, {"5": 1})
    assert await store(variants, {7: facts(1)}, two) is FillOutcome.FILLED
    assert set(await variants.get(SHOP, [5, 6, 7])) == {6, 7}
    now = await used(usage)
    assert (now.products, now.bytes_held) == (2, await bytes_of(redis, 6, 7))


async def test_lost_index_of_variants_is_begun_anew(variants: VariantCache, usage: UsageCounters, redis: Redis) -> None:
    await store(variants, {5: facts(1), 6: facts(1)})
    await redis.delete(keys.of_shop(SHOP).variant_index)
    await store(variants, {5: facts(2)})
    now = await used(usage)
    assert (now.products, now.bytes_held) == (1, await bytes_of(redis, 5))


async def fill(cache: RegistryCache, slug: str, quota: Quota) -> FillOutcome:
    lease = (await cache.lease(SHOP, [slug]))[slug]
    assert isinstance(lease, Lease)
    entry = make_entry(CachedRegistry(1, AccessLevel.OPEN, 0, b"x" * 500), lease.era, now_ms())
    return (await cache.fill(SHOP, {slug: (lease, entry)}, quota))[slug]


async def test_sizes_of_variants_without_their_index_evict_no_registry(
    variants: VariantCache, usage: UsageCounters, cache: RegistryCache, redis: Redis
) -> None:
    await store(variants, {number: facts(1) for number in range(20)})
    await redis.delete(keys.of_shop(SHOP).variant_index)  # as Redis does when it is full
    quota = Quota(10, (await used(usage)).bytes_held)
    assert [await fill(cache, slug, quota) for slug in "abc"] == [FillOutcome.FILLED] * 3
    now = await used(usage)
    assert (now.entries, now.products, now.evictions) == (3, 0, 0)


async def test_registry_takes_the_place_of_the_variants_that_expire_first(
    variants: VariantCache, usage: UsageCounters, cache: RegistryCache
) -> None:
    await store(variants, {5: facts(1), 6: facts(1, gone=True), 7: facts(1)}, Quota(3, 10**9))
    assert await fill(cache, "a", Quota(3, 10**9)) is FillOutcome.FILLED
    assert set(await variants.get(SHOP, [5, 6, 7])) == {5, 7}
    held = (await used(usage)).bytes_held
    assert await fill(cache, "b", Quota(100, held)) is FillOutcome.FILLED  # its bytes are those of more variants
    assert await variants.get(SHOP, [5, 6, 7]) == {}
    now = await used(usage)
    assert (now.entries, now.products, now.evictions) == (2, 0, 0)


async def test_lost_sizes_of_variants_leave_no_key_without_a_lifetime(
    variants: VariantCache, usage: UsageCounters, cache: RegistryCache, redis: Redis
) -> None:
    await store(variants, {5: facts(1), 6: facts(1)})
    await redis.delete(keys.of_shop(SHOP).variant_sizes)
    await fill(cache, "a", Quota(2, 10**9))
    await store(variants, {7: facts(1)}, Quota(1, 10**9))
    assert (await used(usage)).products == 1
    assert not await redis.exists(keys.of_shop(SHOP).variant_sizes)  # the fixture finds other keys
