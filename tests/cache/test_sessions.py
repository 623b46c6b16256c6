from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.cache.keys import SessionName
from wishcraft.cache.sessions import SessionCache


@pytest.fixture
def sessions(server: Server) -> SessionCache:
    return SessionCache(server)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def test_session_is_kept_until_it_expires(sessions: SessionCache, redis: Redis) -> None:
    name, expiry = SessionName(7, "abc"), in_an_hour()
    await sessions.put(name, "smith-wedding", expiry)
    assert await sessions.get(name) == "smith-wedding"
    assert await redis.pexpiretime(keys.session_key(name)) == int(expiry.timestamp() * 1000)


async def test_expired_session_is_not_stored(sessions: SessionCache, redis: Redis) -> None:
    name = SessionName(7, "abc")
    await sessions.put(name, "smith-wedding", datetime.now(UTC) - timedelta(seconds=1))
    assert await sessions.get(name) is None
    assert not await redis.exists(keys.session_key(name))


async def test_same_id_in_two_shops_is_two_sessions(sessions: SessionCache) -> None:
    await sessions.put(SessionName(1, "abc"), "smith", in_an_hour())
    assert await sessions.get(SessionName(11, "abc")) is None
    assert await sessions.delete([SessionName(11, "abc"), SessionName(1, "abc")]) == 1
    assert await sessions.get(SessionName(1, "abc")) is None


async def test_batches_contain_every_session_once_and_nothing_else(sessions: SessionCache, redis: Redis) -> None:
    names = {SessionName(shop, f"id:{number}") for shop in (1, 2) for number in range(1250)}
    for name in names:
        await sessions.put(name, "smith", in_an_hour())
    await redis.set(keys.entry_key(1, "session"), b"", ex=60)
    await redis.set("wishcraft:{other}:session:abc", b"", ex=60)
    pages = [batch async for batch in sessions.batches(400)]
    assert {name for batch in pages for name in batch} == names
    assert [len(batch) for batch in pages] == [400] * 6 + [100]


async def test_empty_redis_has_no_batches(sessions: SessionCache) -> None:
    assert [batch async for batch in sessions.batches(10)] == []
    assert await sessions.delete([]) == 0
