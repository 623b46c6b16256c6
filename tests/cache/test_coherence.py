import asyncio

import pytest
from redis.asyncio import Redis

from wishcraft.cache import entries, keys
from wishcraft.cache.client import Server, connect
from wishcraft.cache.coherence import Lease, now_ms
from wishcraft.cache.entries import Entry
from wishcraft.cache.registries import RegistryCache
from wishcraft.cache.scripts import FillOutcome
from wishcraft.domain.cached_registry import LONGEST_LIFETIME, AccessLevel, CachedRegistry
from wishcraft.errors import CacheUnavailable

SHOP = 7


def registry(version: int) -> CachedRegistry:
    return CachedRegistry(version, AccessLevel.OPEN, 0, b"version %d" % version)


async def take(cache: RegistryCache, slug: str = "smith") -> Lease:
    lease = (await cache.lease(SHOP, [slug]))[slug]
    assert isinstance(lease, Lease)
    return lease


async def fill(cache: RegistryCache, lease: Lease, version: int) -> FillOutcome:
    return (await cache.fill(SHOP, {"smith": (lease, entries.make_entry(registry(version), lease.era, now_ms()))}))[
        "smith"
    ]


async def cached_version(cache: RegistryCache) -> int | None:
    entry = await cache.get(SHOP, "smith")
    return entry.header.version if entry else None


async def test_filled_entry_is_read_until_its_hard_expiry(cache: RegistryCache, redis: Redis) -> None:
    assert await fill(cache, await take(cache), 1) is FillOutcome.FILLED
    entry = await cache.get(SHOP, "smith")
    assert isinstance(entry, Entry)
    assert entry.body == b"version 1"
    assert keys.HARD_TTL_MS * 0.79 < await redis.pttl(keys.entry_key(SHOP, "smith")) <= keys.HARD_TTL_MS


async def test_stable_entry_is_fresh_and_kept_for_longer(cache: RegistryCache, redis: Redis) -> None:
    lease = await take(cache)
    stable = CachedRegistry(1, AccessLevel.OPEN, 0, b"{}", soft_lifetime=LONGEST_LIFETIME)
    before_ms = now_ms()
    await cache.fill(SHOP, {"smith": (lease, entries.make_entry(stable, lease.era, before_ms))})
    entry = await cache.get(SHOP, "smith")
    assert entry
    fresh_ms = LONGEST_LIFETIME / keys.MILLISECOND
    assert fresh_ms * 0.8 <= entry.header.soft_expiry_ms - before_ms <= fresh_ms
    assert fresh_ms * 6 * 0.63 < await redis.pttl(keys.entry_key(SHOP, "smith")) <= fresh_ms * 6


async def test_entry_is_not_visible_to_another_shop(cache: RegistryCache) -> None:
    await fill(cache, await take(cache), 1)
    assert await cache.get(SHOP + 1, "smith") is None


async def test_lease_is_given_once_and_again_after_its_release(cache: RegistryCache) -> None:
    lease = await take(cache)
    assert await cache.lease(SHOP, ["smith"]) == {"smith": FillOutcome.LEASED}
    await cache.release(SHOP, {"smith": lease})
    await take(cache)


async def test_expired_lease_cannot_release_its_successor(cache: RegistryCache, redis: Redis) -> None:
    late = await take(cache)
    await redis.delete(keys.of_shop(SHOP).lease_prefix + "smith")  # as its expiry does
    await take(cache)
    await cache.release(SHOP, {"smith": late})
    assert await cache.lease(SHOP, ["smith"]) == {"smith": FillOutcome.LEASED}


async def test_lease_expires(cache: RegistryCache, redis: Redis) -> None:
    await take(cache)
    assert 0 < await redis.pttl(keys.of_shop(SHOP).lease_prefix + "smith") <= keys.LEASE_TTL_MS


async def test_fill_ends_its_lease(cache: RegistryCache) -> None:
    lease = await take(cache)
    await fill(cache, lease, 1)
    assert await fill(cache, lease, 2) is FillOutcome.LEASE_GONE
    assert await cached_version(cache) == 1


async def test_expired_lease_cannot_fill_the_cache(cache: RegistryCache, redis: Redis) -> None:
    late = await take(cache)
    await redis.delete(keys.of_shop(SHOP).lease_prefix + "smith")
    await fill(cache, await take(cache), 2)
    assert await fill(cache, late, 1) is FillOutcome.LEASE_GONE
    assert await cached_version(cache) == 2


async def test_invalidate_deletes_the_entry_and_the_lease(cache: RegistryCache) -> None:
    await fill(cache, await take(cache), 1)
    lease = await take(cache)
    await cache.invalidate(SHOP, {"smith": 2})
    assert await cached_version(cache) is None
    assert await fill(cache, lease, 2) is FillOutcome.LEASE_GONE


async def test_load_between_invalidation_and_commit_is_not_filled(cache: RegistryCache) -> None:
    await cache.invalidate(SHOP, {"smith": 2})
    assert await fill(cache, await take(cache), 1) is FillOutcome.UNDER_FLOOR
    assert await fill(cache, await take(cache), 2) is FillOutcome.FILLED


async def test_invalidating_an_earlier_version_does_not_lower_the_floor(cache: RegistryCache) -> None:
    await cache.invalidate(SHOP, {"smith": 3})
    await cache.invalidate(SHOP, {"smith": 2})
    assert await fill(cache, await take(cache), 2) is FillOutcome.UNDER_FLOOR


async def test_floors_expire_one_by_one_and_the_hash_with_the_last(cache: RegistryCache, redis: Redis) -> None:
    await cache.invalidate(SHOP, {"smith": 2, "jones": 5})
    name = keys.of_shop(SHOP).floors
    ttls = await redis.hpttl(name, "smith", "jones")
    assert all(0 < ttl <= keys.FLOOR_TTL_MS for ttl in ttls)
    await redis.hpexpire(name, 0, "smith", "jones")
    assert not await redis.exists(name)


async def test_fill_does_not_replace_a_newer_version_and_renews_an_equal_one(
    cache: RegistryCache, redis: Redis
) -> None:
    await fill(cache, await take(cache), 2)
    assert await fill(cache, await take(cache), 1) is FillOutcome.NEWER_THERE
    await redis.pexpire(keys.entry_key(SHOP, "smith"), 10_000)
    assert await fill(cache, await take(cache), 2) is FillOutcome.FILLED
    assert await redis.pttl(keys.entry_key(SHOP, "smith")) > 10_000


async def test_entry_of_another_era_is_a_miss_and_is_replaced(cache: RegistryCache, redis: Redis) -> None:
    foreign = entries.pack(entries.make_entry(registry(9), b"foreign!", now_ms()))
    await redis.set(keys.entry_key(SHOP, "smith"), foreign, ex=60)
    assert await cached_version(cache) is None
    assert await cache.headers(SHOP, ["smith"]) == {}
    assert await fill(cache, await take(cache), 1) is FillOutcome.FILLED


async def test_headers_are_returned_for_slugs_with_an_entry(cache: RegistryCache) -> None:
    await fill(cache, await take(cache), 4)
    headers = await cache.headers(SHOP, ["jones", "smith"])
    assert {slug: header.version for slug, header in headers.items()} == {"smith": 4}


async def test_no_lease_is_given_during_the_hold(server: Server) -> None:
    holding = RegistryCache(server, hold_seconds=100)
    assert await holding.lease(SHOP, ["smith"]) == {"smith": FillOutcome.ON_HOLD}


async def test_ready_to_fill_waits_for_the_end_of_the_hold(server: Server) -> None:
    holding = RegistryCache(server, hold_seconds=100)
    assert await holding.lease(SHOP, ["smith"]) == {"smith": FillOutcome.ON_HOLD}
    holding._hold_seconds = 0.2
    await holding.ready_to_fill()
    await take(holding)


async def test_flush_by_hand_begins_a_new_era(cache: RegistryCache, server: Server, redis: Redis) -> None:
    lease = await take(cache)
    await redis.flushdb()
    assert await fill(cache, lease, 1) is FillOutcome.LEASE_GONE
    assert (await take(cache)).era == server.era != lease.era


async def test_every_command_raises_cache_unavailable_when_redis_is_down() -> None:
    server = connect("redis://127.0.0.1:1/0")
    unreachable = RegistryCache(server)
    for step in (
        unreachable.get(SHOP, "a"),
        unreachable.invalidate(SHOP, {"a": 1}),
        unreachable.lease(SHOP, ["a"]),
        unreachable.ready_to_fill(),
    ):
        with pytest.raises(CacheUnavailable):
            await step
    await server.close()


async def test_more_readers_than_connections_are_all_answered(cache: RegistryCache) -> None:
    await fill(cache, await take(cache), 1)
    assert await asyncio.gather(*(cached_version(cache) for _ in range(200))) == [1] * 200
