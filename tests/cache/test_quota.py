from datetime import UTC, datetime
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.support.hypothesis_profiles import examples
from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.cache.coherence import EVICTIONS_PER_CALL, Lease, now_ms
from wishcraft.cache.entries import make_entry
from wishcraft.cache.registries import RegistryCache
from wishcraft.cache.scripts import FillOutcome
from wishcraft.cache.usage import ReadCounts, UsageCounters
from wishcraft.domain.cached_registry import LONGEST_LIFETIME, AccessLevel, CachedRegistry, Quota, view_weight

SHOP, OTHER = 7, 8
PLENTY = Quota(1000, 10**9)
LONGEST_LIFE_MS: Final = keys.KEPT_TIMES * LONGEST_LIFETIME // keys.MILLISECOND
"""Of an entry."""


@pytest.fixture
def usage(server: Server) -> UsageCounters:
    return UsageCounters(server)


async def fill(cache: RegistryCache, slug: str, quota: Quota, size: int = 10, shop: int = SHOP) -> FillOutcome:
    lease = (await cache.lease(shop, [slug]))[slug]
    assert isinstance(lease, Lease)
    entry = make_entry(CachedRegistry(1, AccessLevel.OPEN, 0, b"x" * size), lease.era, now_ms())
    return (await cache.fill(shop, {slug: (lease, entry)}, quota))[slug]


async def cached_slugs(redis: Redis, shop: int = SHOP) -> set[str]:
    prefix = keys.of_shop(shop).entry_prefix
    return {key.decode().removeprefix(prefix) async for key in redis.scan_iter(f"{prefix}*")}


async def view(usage: UsageCounters, **views: int) -> None:
    await usage.add({}, {SHOP: views})


async def test_least_viewed_entry_is_evicted_over_the_quota(
    cache: RegistryCache, usage: UsageCounters, redis: Redis
) -> None:
    for slug in ("a", "b", "c"):
        await fill(cache, slug, PLENTY)
    await view(usage, a=5, b=1, c=9)
    assert await fill(cache, "d", Quota(3, 10**9)) is FillOutcome.OVER_QUOTA  # it was viewed less than all the others
    await view(usage, b=1)
    assert await cached_slugs(redis) == {"a", "b", "c"}
    assert await fill(cache, "e", Quota(2, 10**9)) is FillOutcome.OVER_QUOTA
    assert await cached_slugs(redis) == {"a", "c"}
    assert (await usage.read([SHOP]))[SHOP].evictions == 1


async def test_new_entry_replaces_one_whose_score_is_older(cache: RegistryCache, redis: Redis) -> None:
    await redis.zadd(keys.of_shop(SHOP).index, {"old": view_weight(datetime(2026, 2, 1, tzinfo=UTC))})
    await redis.set(keys.entry_key(SHOP, "old"), b"x", ex=60)
    await redis.expire(keys.of_shop(SHOP).index, 60)
    assert await fill(cache, "new", Quota(1, 10**9)) is FillOutcome.FILLED
    assert await cached_slugs(redis) == {"new"}


async def test_quota_limits_bytes_too(cache: RegistryCache, usage: UsageCounters, redis: Redis) -> None:
    await fill(cache, "small", PLENTY, size=100)
    await view(usage, small=3)
    assert await fill(cache, "huge", Quota(1000, 5_000), size=10_000) is FillOutcome.OVER_QUOTA
    assert await cached_slugs(redis) == {"small"}
    used = (await usage.read([SHOP]))[SHOP]
    assert (used.entries, used.bytes_held) == (1, len(await redis.get(keys.entry_key(SHOP, "small")) or b""))


async def test_entry_that_is_filled_again_is_counted_once(
    cache: RegistryCache, usage: UsageCounters, redis: Redis
) -> None:
    for size in (1000, 10, 500):
        await cache.invalidate(SHOP, {"a": 1})
        await fill(cache, "a", PLENTY, size=size)
    used = (await usage.read([SHOP]))[SHOP]
    assert (used.entries, used.bytes_held) == (1, await redis.strlen(keys.entry_key(SHOP, "a")))


async def test_quota_never_evicts_entries_of_another_shop(cache: RegistryCache, redis: Redis) -> None:
    for slug in ("a", "b", "c"):
        await fill(cache, slug, PLENTY, shop=OTHER)
    for slug in map(str, range(50)):
        await fill(cache, f"s{slug}", Quota(2, 10**9))
    assert len(await cached_slugs(redis)) == 2
    assert await cached_slugs(redis, OTHER) == {"a", "b", "c"}


async def test_quota_of_zero_keeps_no_entry(cache: RegistryCache, redis: Redis) -> None:
    assert await fill(cache, "a", Quota(0, 0)) is FillOutcome.OVER_QUOTA
    assert not await cached_slugs(redis)


async def test_expired_entry_is_evicted_from_the_index_first(
    cache: RegistryCache, usage: UsageCounters, redis: Redis
) -> None:
    await fill(cache, "gone", PLENTY)
    await fill(cache, "viewed", PLENTY)
    await view(usage, viewed=1)
    await redis.delete(keys.entry_key(SHOP, "gone"))  # as Redis does on expiry or eviction
    assert await fill(cache, "new", Quota(2, 10**9)) is FillOutcome.FILLED
    assert await cached_slugs(redis) == {"viewed", "new"}


@pytest.mark.parametrize("left_ms", [None, LONGEST_LIFE_MS - 1])
async def test_index_and_sizes_outlive_the_entries(cache: RegistryCache, redis: Redis, left_ms: int | None) -> None:
    for key in (keys.of_shop(SHOP).index, keys.of_shop(SHOP).sizes):
        await fill(cache, "a", PLENTY)
        if left_ms is not None:
            await redis.pexpire(key, left_ms)
            await fill(cache, "b", PLENTY)
        assert await redis.pttl(key) > LONGEST_LIFE_MS


async def test_fill_leaves_a_ttl_of_which_half_is_left(cache: RegistryCache, redis: Redis) -> None:
    left_ms = LONGEST_LIFE_MS * 3 // 2
    await fill(cache, "a", PLENTY)
    for key in (keys.of_shop(SHOP).index, keys.of_shop(SHOP).sizes):
        await redis.pexpire(key, left_ms)
    await fill(cache, "b", PLENTY)
    for key in (keys.of_shop(SHOP).index, keys.of_shop(SHOP).sizes):
        assert await redis.pttl(key) <= left_ms


async def test_views_without_an_entry_are_not_listed_in_the_index(usage: UsageCounters, redis: Redis) -> None:
    await view(usage, absent=3)
    assert not await redis.exists(keys.of_shop(SHOP).index)


async def test_usage_is_summed_up_over_processes(usage: UsageCounters) -> None:
    for _ in range(2):
        await usage.add({SHOP: ReadCounts(hits=3, stale=1, misses=2, bypassed=1, bytes_sent=100)}, {})
    used = (await usage.read([SHOP, OTHER]))[SHOP]
    assert (used.hits, used.stale, used.misses, used.bypassed, used.bytes_sent) == (6, 2, 4, 2, 200)
    assert (await usage.read([OTHER]))[OTHER].hits == 0


@settings(max_examples=examples(quick=10, deep=100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 400)), max_size=25), st.integers(0, 5))
async def test_quota_holds_and_usage_is_exact_after_any_fills_and_a_deletion(
    cache: RegistryCache, usage: UsageCounters, redis: Redis, fills: list[tuple[str, int]], entries: int
) -> None:
    await redis.delete(
        keys.of_shop(SHOP).index, keys.of_shop(SHOP).sizes, *(keys.entry_key(SHOP, each) for each in "abcdefgh")
    )
    quota = Quota(entries, 900)
    for slug, size in (*fills, ("", 0)):
        await (fill(cache, slug, quota, size) if slug else cache.forget(SHOP, "abcd"))
        held = await cached_slugs(redis)
        sizes = [await redis.strlen(keys.entry_key(SHOP, each)) for each in held]
        used = (await usage.read([SHOP]))[SHOP]
        assert (used.entries, used.bytes_held) == (len(held), sum(sizes))
        assert len(held) <= quota.entries
        assert sum(sizes) <= quota.bytes


async def test_lower_quota_evicts_the_least_viewed_in_steps(
    cache: RegistryCache, usage: UsageCounters, redis: Redis
) -> None:
    entries = 2 * EVICTIONS_PER_CALL + 10
    for number in range(entries):
        await fill(cache, str(number), PLENTY)
    await view(usage, **{"7": 5, "8": 9})
    await fill(cache, "7", PLENTY, shop=OTHER)
    assert await cache.trim(SHOP, PLENTY) == 0
    assert await cache.trim(SHOP, Quota(2, 10**9)) == entries - 2
    assert await cached_slugs(redis) == {"7", "8"}
    used = await usage.read([SHOP, OTHER])
    assert (used[SHOP].entries, used[SHOP].evictions, used[OTHER].entries) == (2, entries - 2, 1)
    assert await cache.trim(SHOP, Quota(2, used[SHOP].bytes_held - 1)) == 1
    assert await cached_slugs(redis) == {"8"}
    assert await cache.trim(SHOP, Quota(0, 0)) == 1
    assert await cache.trim(SHOP, Quota(0, 0)) == 0


async def test_trim_without_counted_sizes_ends_and_leaves_no_key_for_ever(cache: RegistryCache, redis: Redis) -> None:
    await fill(cache, "a", PLENTY)
    await redis.delete(keys.of_shop(SHOP).sizes)  # as when Redis evicts it
    assert await cache.trim(SHOP, Quota(0, 10**9)) == 1
    assert await cached_slugs(redis) == set()
