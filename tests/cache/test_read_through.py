import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from redis.asyncio import Redis

from tests.cache.conftest import OwnValkey
from wishcraft.cache import entries, keys
from wishcraft.cache.client import Server
from wishcraft.cache.coherence import Lease
from wishcraft.cache.registries import CacheState, RegistryCache
from wishcraft.cache.scripts import Outcome
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.errors import CacheUnavailable

SHOP = 7


class Database:
    """A loader that counts, waits for `gate` if there is one, and fails on demand."""

    def __init__(self, version: int | None = 1) -> None:
        self.version = version
        self.loads = 0
        self.failing = False
        self.access_level: asyncio.Event | None = None

    async def load(self) -> CachedRegistry | None:
        self.loads += 1
        if self.access_level:
            await self.access_level.wait()
        if self.failing:
            raise RuntimeError("PostgreSQL is away")
        return (
            None
            if self.version is None
            else CachedRegistry(self.version, AccessLevel.CODE, 42, b"version %d" % self.version)
        )

    async def load_many(self, slugs: Sequence[str]) -> Mapping[str, CachedRegistry]:
        documents = {slug: await self.load() for slug in slugs if not slug.startswith("no-")}
        return {slug: document for slug, document in documents.items() if document}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + 10
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def grow_stale(redis: Redis, version: int) -> None:
    """Replace what is there by an entry that is past its soft expiry, of the same era."""
    key = keys.entry_key(SHOP, "smith")
    there = entries.unpack(await redis.get(key) or b"")  # type: ignore[arg-type]  # responses are not decoded
    assert there
    old = entries.compose(CachedRegistry(version, AccessLevel.OPEN, 0, b"old"), there.header.era, 1)
    await redis.set(key, entries.pack(old), keepttl=True)


async def test_the_first_read_loads_and_the_second_hits(cache: RegistryCache) -> None:
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


async def test_fifty_readers_at_once_make_one_load(cache: RegistryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wishcraft.cache.registries.WAIT_FOR_FILL_SECONDS", 30)  # however busy the machine is
    database = Database()
    answers = await asyncio.gather(*(cache.read(SHOP, "smith", database.load) for _ in range(50)))
    assert database.loads == 1
    assert {answer.state for answer in answers} == {CacheState.HIT, CacheState.MISS}
    assert all(answer.entry and answer.entry.header.version == 1 for answer in answers)


async def test_a_reader_does_not_wait_long_for_a_slow_one(cache: RegistryCache) -> None:
    slow, quick = Database(), Database()
    slow.access_level = asyncio.Event()
    slow_read = asyncio.create_task(cache.read(SHOP, "smith", slow.load))
    await until(lambda: _is(slow.loads == 1))
    assert (await cache.read(SHOP, "smith", quick.load)).state is CacheState.BYPASS
    slow.access_level.set()
    assert (await slow_read).state is CacheState.MISS


async def _is(condition: bool) -> bool:
    return condition


async def test_that_nothing_is_there_is_remembered_briefly(cache: RegistryCache, redis: Redis) -> None:
    database = Database(None)
    answers = [await cache.read(SHOP, "smith", database.load) for _ in range(2)]
    assert [answer.entry.header.access_level for answer in answers] == [AccessLevel.ABSENT] * 2
    assert ([answer.state for answer in answers], database.loads) == ([CacheState.MISS, CacheState.HIT], 1)
    assert 0 < await redis.pttl(keys.entry_key(SHOP, "smith")) <= keys.ABSENT_TTL_MS
    assert not await redis.exists(keys.index_key(SHOP))


async def test_what_is_created_is_found_though_it_was_missed_before(cache: RegistryCache) -> None:
    database = Database(None)
    await cache.read(SHOP, "smith", database.load)
    slow = (await cache.lease(SHOP, ["smith"]))["smith"]
    assert isinstance(slow, Lease)
    await cache.mark(SHOP, {"smith": 1})  # the creation, which commits now
    database.version = 1
    assert (await cache.read(SHOP, "smith", database.load)).entry.body == b"version 1"


async def test_a_failed_load_is_the_reader_s_error_and_gives_the_lease_back(cache: RegistryCache) -> None:
    database = Database()
    database.failing = True
    with pytest.raises(RuntimeError, match="PostgreSQL"):
        await cache.read(SHOP, "smith", database.load)
    database.failing = False
    assert (await cache.read(SHOP, "smith", database.load)).state is CacheState.MISS


async def test_a_cancelled_reader_gives_the_lease_back(cache: RegistryCache) -> None:
    database = Database()
    database.access_level = asyncio.Event()
    read = asyncio.create_task(cache.read(SHOP, "smith", database.load))
    await until(lambda: _is(database.loads == 1))
    read.cancel()
    with pytest.raises(asyncio.CancelledError):
        await read
    assert isinstance((await cache.lease(SHOP, ["smith"]))["smith"], Lease)


async def test_past_its_soft_expiry_one_reader_refreshes_and_the_others_get_the_old_one(
    cache: RegistryCache, redis: Redis
) -> None:
    database = Database()
    await cache.read(SHOP, "smith", database.load)
    await grow_stale(redis, 1)
    database.access_level = asyncio.Event()
    refreshing = asyncio.create_task(cache.read(SHOP, "smith", database.load))
    await until(lambda: _is(database.loads == 2))
    other = await cache.read(SHOP, "smith", database.load)
    assert other.state is CacheState.STALE
    assert other.entry
    assert other.entry.body == b"old"
    database.access_level.set()
    assert (await refreshing).state is CacheState.MISS
    assert (await cache.read(SHOP, "smith", database.load)).state is CacheState.HIT


async def test_without_postgresql_an_old_entry_is_given_out_and_one_reader_in_ten_seconds_tries(
    cache: RegistryCache, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database()
    await cache.read(SHOP, "smith", database.load)
    await grow_stale(redis, 1)
    database.failing = True
    with caplog.at_level(logging.ERROR):
        states = [(await cache.read(SHOP, "smith", database.load)).state for _ in range(3)]
    assert states == [CacheState.STALE] * 3
    assert database.loads == 2
    assert "could not be loaded" in caplog.text


async def test_readers_go_on_when_redis_is_killed_and_hit_again_when_it_is_back(
    own_valkey: OwnValkey, own_server: Server
) -> None:
    cache, database = RegistryCache(own_server, hold_seconds=0), Database()
    await cache.read(SHOP, "smith", database.load)
    await asyncio.to_thread(own_valkey.kill)
    answer = await cache.read(SHOP, "smith", database.load)
    assert answer.state is CacheState.BYPASS
    assert answer.entry
    assert answer.entry.body == b"version 1"
    own_valkey.start()
    states = [(await cache.read(SHOP, "smith", database.load)).state for _ in range(2)]
    assert states == [CacheState.MISS, CacheState.HIT]


async def test_a_redis_that_dies_during_the_load_spoils_no_answer(own_valkey: OwnValkey, own_server: Server) -> None:
    cache, database = RegistryCache(own_server, hold_seconds=0), Database()

    async def load() -> CachedRegistry | None:
        await asyncio.to_thread(own_valkey.kill)
        return await database.load()

    answer = await cache.read(SHOP, "smith", load)
    assert answer.entry
    assert answer.entry.body == b"version 1"
    with pytest.raises(CacheUnavailable):
        await cache.refill(SHOP, database.load_many, ["smith"])


async def test_a_refill_says_what_became_of_each_slug(cache: RegistryCache) -> None:
    database = Database()
    await cache.mark(SHOP, {"marked": 2})
    await cache.lease(SHOP, ["taken"])
    outcomes = await cache.refill(SHOP, database.load_many, ["a", "b", "marked", "taken", "no-such"])
    assert outcomes == {Outcome.FILLED: 2, Outcome.UNDER_FLOOR: 1, Outcome.HELD: 1, Outcome.NOT_FOUND: 1}
    assert database.loads == 3
    assert (await cache.read(SHOP, "no-such", database.load)).state is CacheState.HIT


async def test_a_refill_whose_load_fails_gives_its_leases_back(cache: RegistryCache) -> None:
    database = Database()
    database.failing = True
    with pytest.raises(RuntimeError):
        await cache.refill(SHOP, database.load_many, ["a", "b"])
    assert all(isinstance(lease, Lease) for lease in (await cache.lease(SHOP, ["a", "b"])).values())


async def test_a_refill_of_nothing_asks_nobody(cache: RegistryCache) -> None:
    database = Database()
    assert not (await cache.refill(SHOP, database.load_many, [])).total()
    assert database.loads == 0
