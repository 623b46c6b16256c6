"""The naive warming of `benchmarks jobs`: it stores what the cache does, or their times would not compare.

Its links name Shopify's own host, and not the simulator.
"""

import orjson
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from benchmarks import naive_jobs
from wishcraft.resources import Resources
from wishcraft.services.registries.reader import load_registries
from wishcraft.store.shops import ShopRef


async def test_naive_warming_stores_the_bodies_of_the_cache(
    resources: Resources, redis: Redis, kept_redis: SyncRedis, shop: ShopRef
) -> None:
    count = await naive_jobs.warm(resources, redis, shop)
    prefix = f"naive:{shop.id}:"
    stored = {key.decode().removeprefix(prefix): kept_redis.get(key) for key in kept_redis.scan_iter(f"{prefix}*")}
    loaded = await load_registries(resources, shop.id, list(stored))
    assert 0 < count == len(loaded) == len(stored)
    for slug, registry in loaded.items():
        naive, ours = orjson.loads(stored[slug] or b""), orjson.loads(registry.body)
        assert naive.pop("share_url").rpartition("/")[2] == ours.pop("share_url").rpartition("/")[2] == slug
        assert naive == ours
