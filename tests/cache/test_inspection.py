import pytest
from redis.asyncio import Redis

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.cache.inspection import estimate_key_statistics


async def test_empty_redis_has_only_the_era(server: Server) -> None:
    assert (await estimate_key_statistics(server)).ttls == {}  # only the era, which has no TTL
    assert dict((await estimate_key_statistics(server)).counts) == {"era": 1}


async def test_few_keys_are_counted_exactly_by_kind(server: Server, redis: Redis) -> None:
    for number, seconds in enumerate((100, 200, 1000)):
        await redis.set(keys.entry_key(1, f"a{number}"), "x", ex=seconds)
    await redis.set("prefect:something", "x", ex=50)
    statistics = await estimate_key_statistics(server)
    assert (statistics.counts["entry"], statistics.counts["other"]) == (3, 1)
    assert statistics.ttls["entry"] == pytest.approx((100, 200, 1000), abs=45)


async def test_many_keys_are_estimated_from_a_sample(server: Server, redis: Redis) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for number in range(3000):
            pipe.set(keys.entry_key(1, f"a{number}"), "x", ex=100)
            pipe.set(keys.of_shop(1).lease_prefix + f"a{number}", "x", ex=10)
        await pipe.execute()
    statistics = await estimate_key_statistics(server, 1000)
    assert sum(statistics.counts.values()) == pytest.approx(6001)
    assert statistics.counts["entry"] == pytest.approx(3000, rel=0.2)
