import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.cache import keys
from wishcraft.cache.client import Server, connect
from wishcraft.cache.coherence import Lease, now_ms
from wishcraft.cache.entries import make_entry
from wishcraft.cache.registries import CacheState, RegistryCache
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.errors import CacheUnavailable

SHOP = 7
FIRST = CachedRegistry(1, AccessLevel.OPEN, 0, b"first")


async def load() -> CachedRegistry | None:
    return FIRST


async def restart_from_snapshot(own_valkey: OwnValkey, own_server: Server) -> None:
    await own_server.redis.save()
    await asyncio.to_thread(own_valkey.kill)  # while the loop runs, so that idle connections notice
    own_valkey.start()


async def test_entry_from_a_snapshot_is_a_miss(
    own_valkey: OwnValkey, own_server: Server, own_cache: RegistryCache
) -> None:
    await own_cache.read(SHOP, "smith", load)
    await restart_from_snapshot(own_valkey, own_server)
    assert await own_server.redis.exists(keys.entry_key(SHOP, "smith"))
    assert await own_cache.get(SHOP, "smith") is None


async def test_lease_from_a_snapshot_fills_no_valid_entry(
    own_valkey: OwnValkey, own_server: Server, own_cache: RegistryCache
) -> None:
    lease = (await own_cache.lease(SHOP, ["smith"]))["smith"]
    assert isinstance(lease, Lease)
    await restart_from_snapshot(own_valkey, own_server)
    await own_cache.fill(SHOP, {"smith": (lease, make_entry(FIRST, lease.era, now_ms()))})
    assert await own_cache.get(SHOP, "smith") is None


async def test_no_fills_after_a_restart_until_the_hold_ends(
    own_valkey: OwnValkey, own_server: Server, own_cache: RegistryCache
) -> None:
    await own_cache.ready_to_fill()
    await restart_from_snapshot(own_valkey, own_server)
    holding = RegistryCache(own_server)
    assert (await holding.read(SHOP, "smith", load)).state is CacheState.BYPASS
    assert await holding.get(SHOP, "smith") is None
    assert (await own_cache.read(SHOP, "smith", load)).state is CacheState.MISS


async def test_all_processes_learn_the_same_new_era_after_a_restart(
    own_valkey: OwnValkey, own_server: Server, own_cache: RegistryCache
) -> None:
    await own_server.learn_era()
    era = own_server.era
    await restart_from_snapshot(own_valkey, own_server)
    other = connect(own_valkey.url, timeout=PATIENCE_SECONDS)
    await other.learn_era()
    await own_cache.get(SHOP, "smith")
    await other.close()
    assert own_server.era == other.era != era


async def test_scripts_are_loaded_again_after_a_script_flush(own_server: Server, own_cache: RegistryCache) -> None:
    await own_cache.read(SHOP, "smith", load)
    await own_server.redis.script_flush()
    await own_cache.invalidate(SHOP, {"smith": 2})
    assert await own_cache.get(SHOP, "smith") is None


async def fill_memory(redis: Redis, policy: str) -> None:
    """Write entries beyond the memory limit."""
    await redis.config_set("maxmemory", 8_000_000)
    await redis.config_set("maxmemory-policy", policy)
    for number in range(2_000):
        await redis.set(keys.entry_key(SHOP, f"filler-{number}"), bytes(10_000), ex=3600)


async def test_eviction_spares_floors_and_the_era(own_server: Server, own_cache: RegistryCache) -> None:
    await own_cache.invalidate(SHOP, {f"registry-{number}": 2 for number in range(500)})
    await fill_memory(own_server.redis, "volatile-lfu")
    assert (await own_server.redis.info("stats"))["evicted_keys"] > 500
    assert await own_server.redis.hlen(keys.of_shop(SHOP).floors) == 500
    assert await own_server.redis.exists(keys.ERA)


async def test_shops_count_as_written_to_also_when_redis_evicts(own_server: Server, own_cache: RegistryCache) -> None:
    shops = range(1_000, 1_300)
    await own_server.learn_era()
    assert await own_cache.is_quiet(shops[0])
    for shop_id in shops:
        await own_cache.invalidate(shop_id, {"smith": 2})
    await fill_memory(own_server.redis, "volatile-lfu")
    assert [shop_id for shop_id in shops if await own_cache.is_quiet(shop_id)] == []


async def test_no_shop_is_quiet_after_a_flush_until_writes_from_before_it_have_ended(own_server: Server) -> None:
    on_hold = RegistryCache(own_server)
    await own_server.learn_era()
    await own_server.redis.hset(keys.ERA, "since", 0)
    assert await on_hold.is_quiet(SHOP)
    await own_server.redis.flushall()
    assert not await on_hold.is_quiet(SHOP)
    await own_server.learn_era()
    assert not await on_hold.is_quiet(SHOP)


async def test_invalidation_works_while_redis_is_full_under_noeviction(
    own_server: Server, own_cache: RegistryCache
) -> None:
    await own_cache.ready_to_fill()
    with pytest.raises(ResponseError, match="maxmemory"):
        await fill_memory(own_server.redis, "noeviction")
    with pytest.raises(CacheUnavailable):
        await own_cache.lease(SHOP, ["smith"])
    await own_cache.invalidate(SHOP, {"smith": 2})
    assert await own_server.redis.hget(keys.of_shop(SHOP).floors, "smith") == b"2"
    assert (await own_cache.read(SHOP, "smith", load)).state is CacheState.BYPASS


async def test_hold_ends_in_time_also_if_the_clock_of_redis_is_set_back(
    server: Server, cache: RegistryCache, redis: Redis
) -> None:
    """As after the start of a machine whose clock was ahead."""
    await server.learn_era()

    async def set_back() -> None:
        await redis.hincrby(keys.ERA, "since", 3_600_000)

    await set_back()
    assert (await cache.read(SHOP, "smith", load)).state is CacheState.MISS
    await set_back()
    assert await cache.is_quiet(SHOP)
    await set_back()
    assert await server.learn_era() >= 0
    await set_back()
    holding = RegistryCache(server)
    assert (await holding.read(SHOP, "jones", load)).state is CacheState.BYPASS
    assert await server.learn_era() < PATIENCE_SECONDS
