import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from wishcraft.cache import entries, keys
from wishcraft.cache.client import Server
from wishcraft.cache.coherence import Lease
from wishcraft.cache.counters import Counters
from wishcraft.cache.entries import Entry
from wishcraft.cache.registries import CacheState, RegistryCache
from wishcraft.cache.scripts import FillOutcome
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.errors import CacheUnavailable

SHOP = 7


class Database:
    """A loader that counts its calls, waits for `gate` if set, and fails on demand."""

    def __init__(self, version: int | None = 1) -> None:
        self.version = version
        self.loads = 0
        self.failing = False
        self.gate: asyncio.Event | None = None

    async def load(self) -> CachedRegistry | None:
        self.loads += 1
        if self.gate:
            await self.gate.wait()
        if self.failing:
            raise RuntimeError("PostgreSQL does not answer")
        return (
            None
            if self.version is None
            else CachedRegistry(self.version, AccessLevel.CODE, 42, b"version %d" % self.version)
        )

    async def load_many(self, slugs: Sequence[str]) -> Mapping[str, CachedRegistry]:
        registries = {slug: await self.load() for slug in slugs if not slug.startswith("no-")}
        return {slug: registry for slug, registry in registries.items() if registry}


async def make_stale(redis: Redis, version: int) -> None:
    """Replace the entry by a stale one of the same era."""
    key = keys.entry_key(SHOP, "smith")
    current = entries.unpack(await redis.get(key) or b"")  # type: ignore[arg-type]  # responses are not decoded
    assert current
    old = entries.make_entry(CachedRegistry(version, AccessLevel.OPEN, 0, b"old"), current.header.era, now_ms=0)
    await redis.set(key, entries.pack(old), keepttl=True)


async def get_entry(cache: RegistryCache) -> Entry:
    entry = await cache.get(SHOP, "smith")
    assert entry
    return entry


async def count_commands(redis: Redis) -> Counter[str]:
    """How often clients have sent the commands of the cache."""
    stats = await redis.info("commandstats")
    return Counter({name: stats.get(name, {}).get("calls", 0) for name in ("cmdstat_evalsha", "cmdstat_mget")})


async def as_stale(redis: Redis) -> bytes:
    """The entry in Redis, past its soft expiry."""
    entry = entries.unpack(await redis.get(keys.entry_key(SHOP, "smith")) or b"")  # type: ignore[arg-type]
    assert entry
    return entries.pack(entry._replace(header=replace(entry.header, soft_expiry_ms=0)))


async def test_first_read_is_a_miss_and_the_second_a_hit(cache: RegistryCache) -> None:
    database = Database()
    first = await cache.read(SHOP, "smith", database.load)
    second = await cache.read(SHOP, "smith", database.load)
    assert (first.state, second.state, database.loads) == (CacheState.MISS, CacheState.HIT, 1)
    assert first.entry == second.entry
    assert first.entry
    assert (first.entry.header.access_level, first.entry.header.owner, first.entry.body) == (
        AccessLevel.CODE,
        42,
        b"version 1",
    )


async def test_fifty_concurrent_readers_make_one_load(cache: RegistryCache) -> None:
    cache.wait_for_fill_seconds = 30  # however busy the machine is
    database = Database()
    results = await asyncio.gather(*(cache.read(SHOP, "smith", database.load) for _ in range(50)))
    assert database.loads == 1
    assert {result.state for result in results} == {CacheState.HIT, CacheState.MISS}
    assert all(result.entry and result.entry.header.version == 1 for result in results)


@pytest.mark.parametrize("is_same_process", [True, False])
async def test_reader_bypasses_the_cache_when_the_lease_holder_is_slow(
    cache: RegistryCache, server: Server, *, is_same_process: bool
) -> None:
    slow, quick = Database(), Database()
    reader = cache if is_same_process else RegistryCache(server, hold_seconds=0)
    slow.gate = asyncio.Event()
    slow_read = asyncio.create_task(cache.read(SHOP, "smith", slow.load))
    await wait_until(lambda: _is(slow.loads == 1))
    assert (await reader.read(SHOP, "smith", quick.load)).state is CacheState.BYPASS
    slow.gate.set()
    assert (await slow_read).state is CacheState.MISS


async def _is(condition: bool) -> bool:
    return condition


async def test_absent_registry_is_cached_briefly(cache: RegistryCache, redis: Redis) -> None:
    database = Database(None)
    results = [await cache.read(SHOP, "smith", database.load) for _ in range(2)]
    assert [result.entry.header.access_level for result in results] == [AccessLevel.ABSENT] * 2
    assert ([result.state for result in results], database.loads) == ([CacheState.MISS, CacheState.HIT], 1)
    assert 0 < await redis.pttl(keys.entry_key(SHOP, "smith")) <= keys.ABSENT_TTL_MS
    assert not await redis.exists(keys.of_shop(SHOP).index)


async def test_created_registry_is_found_despite_a_negative_entry(cache: RegistryCache) -> None:
    database = Database(None)
    await cache.read(SHOP, "smith", database.load)
    slow = (await cache.lease(SHOP, ["smith"]))["smith"]
    assert isinstance(slow, Lease)
    await cache.invalidate(SHOP, {"smith": 1})  # the creation, which commits now
    database.version = 1
    assert (await cache.read(SHOP, "smith", database.load)).entry.body == b"version 1"


async def test_failed_load_raises_and_releases_the_lease(cache: RegistryCache) -> None:
    database = Database()
    database.failing = True
    with pytest.raises(RuntimeError, match="PostgreSQL"):
        await cache.read(SHOP, "smith", database.load)
    database.failing = False
    assert (await cache.read(SHOP, "smith", database.load)).state is CacheState.MISS


async def test_cancelled_reader_releases_the_lease(cache: RegistryCache) -> None:
    database = Database()
    database.gate = asyncio.Event()
    read = asyncio.create_task(cache.read(SHOP, "smith", database.load))
    await wait_until(lambda: _is(database.loads == 1))
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    assert isinstance((await cache.lease(SHOP, ["smith"]))["smith"], Lease)


async def test_entry_that_was_filled_since_it_was_missing_is_read_and_not_loaded(cache: RegistryCache) -> None:
    database = Database()
    await cache.read(SHOP, "smith", database.load)
    result = await cache.read(SHOP, "smith", database.load, was_missing=True)
    assert (result.state, result.entry.body, database.loads) == (CacheState.HIT, b"version 1", 1)


async def test_entry_that_was_renewed_since_it_was_stale_is_read_and_not_loaded(
    cache: RegistryCache, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(version=2)
    await cache.read(SHOP, "smith", database.load)
    renewed = entries.pack(await get_entry(cache))
    await make_stale(redis, 1)
    get = cache.get

    async def get_then_renew(shop_id: int, slug: str) -> Entry | None:
        entry = await get(shop_id, slug)
        await redis.set(keys.entry_key(SHOP, "smith"), renewed, keepttl=True)
        return entry

    monkeypatch.setattr(cache, "get", get_then_renew)
    result = await cache.read(SHOP, "smith", database.load)
    assert (result.state, result.entry.body, database.loads) == (CacheState.HIT, b"version 2", 1)


async def test_entry_of_an_earlier_era_counts_as_missing(cache: RegistryCache, redis: Redis) -> None:
    entry = entries.make_entry(CachedRegistry(1, AccessLevel.OPEN, 0, b"old"), b"earlier!", now_ms=0)
    await redis.set(keys.entry_key(SHOP, "smith"), entries.pack(entry), ex=60)
    result = await cache.read(SHOP, "smith", Database().load)
    assert (result.state, (await get_entry(cache)).body) == (CacheState.MISS, b"version 1")


async def test_entry_with_an_access_level_of_a_later_release_counts_as_missing(
    cache: RegistryCache, redis: Redis
) -> None:
    await cache.read(SHOP, "smith", Database().load)
    packed = entries.pack(await get_entry(cache))
    level = entries.HEADER_SIZE - 9  # eight bytes of the owner follow
    await redis.set(keys.entry_key(SHOP, "smith"), packed[:level] + b"\xff" + packed[level + 1 :], ex=60)
    result = await cache.read(SHOP, "smith", Database().load)
    assert (result.state, (await get_entry(cache)).body) == (CacheState.MISS, b"version 1")


async def test_miss_that_was_seen_takes_two_commands(own_cache: RegistryCache, own_server: Server) -> None:
    redis = own_server.redis  # of this test alone: a server counts the commands of all its databases
    await own_cache.read(SHOP, "jones", Database().load)  # Redis knows the scripts from here on
    before = await count_commands(redis)
    await own_cache.read(SHOP, "smith", Database().load, was_missing=True)
    assert await count_commands(redis) - before == Counter({"cmdstat_evalsha": 2})


async def test_lease_that_a_cancelled_caller_would_get_is_given_back(cache: RegistryCache) -> None:
    assert isinstance((await cache.lease(SHOP, ["first"]))["first"], Lease)
    leaving = asyncio.create_task(cache.lease(SHOP, ["smith"]))
    await asyncio.sleep(0)  # the command is under way
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert isinstance((await cache.lease(SHOP, ["smith"]))["smith"], Lease)


async def test_one_reader_revalidates_while_others_get_the_stale_entry(cache: RegistryCache, redis: Redis) -> None:
    cache.revalidate_seconds = PATIENCE_SECONDS
    database = Database()
    await cache.read(SHOP, "smith", database.load)
    await make_stale(redis, 1)
    database.gate = asyncio.Event()
    revalidation = asyncio.create_task(cache.read(SHOP, "smith", database.load))
    await wait_until(lambda: _is(database.loads == 2))
    other = await cache.read(SHOP, "smith", database.load)
    assert other.state is CacheState.STALE
    assert other.entry
    assert other.entry.body == b"old"
    database.gate.set()
    assert (await revalidation).state is CacheState.MISS
    assert (await cache.read(SHOP, "smith", database.load)).state is CacheState.HIT


async def test_stale_entry_answers_and_one_load_is_tried_while_postgresql_is_down(
    cache: RegistryCache, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database()
    await cache.read(SHOP, "smith", database.load)
    await make_stale(redis, 1)
    database.failing = True
    with caplog.at_level(logging.ERROR):
        states = [(await cache.read(SHOP, "smith", database.load)).state for _ in range(3)]
    assert states == [CacheState.STALE] * 3
    assert database.loads == 2
    assert "could not be loaded" in caplog.text


async def test_revalidations_and_lifetimes_are_counted(server: Server, redis: Redis) -> None:
    counters = Counters(server)
    cache, database = RegistryCache(server, hold_seconds=0, counters=counters), Database()
    await cache.read(SHOP, "smith", database.load)
    await make_stale(redis, 1)
    await cache.read(SHOP, "smith", database.load)  # the stale entry had another body
    await redis.set(keys.entry_key(SHOP, "smith"), await as_stale(redis), keepttl=True)
    await cache.read(SHOP, "smith", database.load)
    await cache.read(SHOP, "no-such", Database(None).load)
    await counters.flush()
    counted = {name: {each.labels: each.value for each in series} for name, series in (await counters.read()).items()}
    assert counted["cache_revalidations_total"] == {("changed",): 1, ("unchanged",): 1}
    assert counted["cache_lifetimes_total"] == {("1",): 3}
    assert counted["cache_fills_total"] == {("stored",): 4}


async def test_reads_bypass_a_killed_redis_and_hit_after_its_restart(own_valkey: OwnValkey, own_server: Server) -> None:
    cache, database = RegistryCache(own_server, hold_seconds=0), Database()
    await cache.read(SHOP, "smith", database.load)
    await asyncio.to_thread(own_valkey.kill)
    result = await cache.read(SHOP, "smith", database.load)
    assert result.state is CacheState.BYPASS
    assert result.entry
    assert result.entry.body == b"version 1"
    own_valkey.start()
    states = [(await cache.read(SHOP, "smith", database.load)).state for _ in range(2)]
    assert states == [CacheState.MISS, CacheState.HIT]


async def test_redis_killed_during_the_load_does_not_fail_the_read(own_valkey: OwnValkey, own_server: Server) -> None:
    cache, database = RegistryCache(own_server, hold_seconds=0), Database()

    async def load() -> CachedRegistry | None:
        await asyncio.to_thread(own_valkey.kill)
        return await database.load()

    result = await cache.read(SHOP, "smith", load)
    assert result.entry
    assert result.entry.body == b"version 1"
    with pytest.raises(CacheUnavailable):
        await cache.refill(SHOP, database.load_many, ["smith"])


async def test_refill_returns_outcome_and_entry_of_each_slug(cache: RegistryCache) -> None:
    database = Database()
    await cache.invalidate(SHOP, {"invalidated": 2})
    await cache.lease(SHOP, ["taken"])
    results = await cache.refill(SHOP, database.load_many, ["a", "b", "invalidated", "taken", "no-such"])
    assert {slug: result.outcome for slug, result in results.items()} == {
        "a": FillOutcome.FILLED,
        "b": FillOutcome.FILLED,
        "invalidated": FillOutcome.UNDER_FLOOR,
        "taken": FillOutcome.LEASED,
        "no-such": FillOutcome.NOT_FOUND,
    }
    assert [slug for slug, result in results.items() if result.entry is None] == ["taken"]
    assert results["a"].entry == await cache.get(SHOP, "a")
    assert database.loads == 3
    assert (await cache.read(SHOP, "no-such", database.load)).state is CacheState.HIT


async def test_refill_releases_its_leases_when_the_load_fails(cache: RegistryCache) -> None:
    database = Database()
    database.failing = True
    with pytest.raises(RuntimeError):
        await cache.refill(SHOP, database.load_many, ["a", "b"])
    assert all(isinstance(lease, Lease) for lease in (await cache.lease(SHOP, ["a", "b"])).values())


async def test_refill_of_no_slugs_loads_nothing(cache: RegistryCache) -> None:
    database = Database()
    assert not await cache.refill(SHOP, database.load_many, [])
    assert database.loads == 0


async def test_readers_do_not_wait_for_each_other_while_nothing_can_be_filled(server: Server, redis: Redis) -> None:
    assert not await redis.keys()
    on_hold = RegistryCache(server, hold_seconds=PATIENCE_SECONDS, wait_for_fill_seconds=2 * PATIENCE_SECONDS)
    database = Database()
    database.gate = asyncio.Event()
    reads = [asyncio.create_task(on_hold.read(SHOP, "smith", database.load)) for _ in range(5)]
    await wait_until(lambda: database.loads == 5)
    database.gate.set()
    assert {result.state for result in await asyncio.gather(*reads)} == {CacheState.BYPASS}


async def test_five_hundred_readers_of_one_process_take_one_lease(
    cache: RegistryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.wait_for_fill_seconds = PATIENCE_SECONDS
    leases: list[str] = []
    take_lease = cache.lease

    async def lease(shop_id: int, slugs: Iterable[str], *, seen: bytes) -> Mapping[str, Lease | FillOutcome]:
        leases.extend(slugs)
        return await take_lease(shop_id, slugs, seen=seen)

    monkeypatch.setattr(cache, "lease", lease)
    database = Database()
    results = await asyncio.gather(*(cache.read(SHOP, "smith", database.load) for _ in range(500)))
    assert (database.loads, leases) == (1, ["smith"])
    assert [result.state for result in results].count(CacheState.MISS) == 1
    assert {result.state for result in results} == {CacheState.MISS, CacheState.HIT}
