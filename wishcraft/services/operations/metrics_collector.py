"""What a scrape of the metrics finds beside what this process counts: in Redis, in Prefect, and in its own health."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wishcraft.cache.client import Memory
from wishcraft.cache.counters import Series
from wishcraft.cache.inspection import KeyStatistics, estimate_key_statistics
from wishcraft.cache.usage import Usage
from wishcraft.errors import CacheUnavailable
from wishcraft.observability.metrics import BREAKER_OPEN, DB_CONNECTIONS, DB_CONNECTIONS_LIMIT
from wishcraft.resources import Resources
from wishcraft.services.health.monitor import Health, HealthMonitor
from wishcraft.services.health.single_flight import SingleFlightCache
from wishcraft.store import shops
from wishcraft.store.connections import count_connections

PATIENCE_SECONDS: Final = 0.5
"""For how long a scrape waits for what it can do without."""
CENSUS_SECONDS: Final = 60.0
SHOPS_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class RedisMetrics:
    """What Redis tells, the same to every process."""

    memory: Memory
    evictions: int
    counted: Mapping[str, list[Series]]
    usage: Mapping[str, Usage]
    """By the shop's domain."""
    census: KeyStatistics


@dataclass(frozen=True, slots=True)
class CollectedMetrics:
    """What was found; `in_redis` is None while Redis is away."""

    health: Health
    overdue: Mapping[str, int]
    in_redis: RedisMetrics | None


class MetricsCollector:
    """One for each process; it finds what it can whichever store is away, within two seconds or so."""

    def __init__(self, resources: Resources, watch: HealthMonitor) -> None:
        self._resources = resources
        self._watch = watch
        self._shops = SingleFlightCache(self._find_shops, SHOPS_SECONDS)
        self._census = SingleFlightCache(lambda: estimate_key_statistics(resources.redis), CENSUS_SECONDS)

    async def find(self) -> CollectedMetrics:
        """How everything is."""
        update_gauges(self._resources)
        health, in_redis = await asyncio.gather(self._watch.health(), self._read_redis())
        return CollectedMetrics(health, self._watch.overdue, in_redis)

    async def close(self) -> None:
        """End what is under way."""
        await self._shops.close()
        await self._census.close()

    async def _read_redis(self) -> RedisMetrics | None:
        resources = self._resources
        found = await self._shops.within(PATIENCE_SECONDS) or {}  # while PostgreSQL is away: those of before
        with suppress(CacheUnavailable):
            with resources.redis.guard():
                memory = await resources.redis.memory()
            return RedisMetrics(
                memory=memory,
                evictions=memory.evictions,
                counted=await resources.counters.read(),
                usage={found[shop_id]: used for shop_id, used in (await resources.usage.read(list(found))).items()},
                census=await self._census.within(PATIENCE_SECONDS) or KeyStatistics({}, {}),
            )
        return None

    async def _find_shops(self) -> dict[int, str]:
        async with self._resources.db.autocommit() as session:
            return {shop.id: shop.domain for shop in await shops.find_active(session)}


def update_gauges(resources: Resources) -> None:
    """Set this process's gauges to what they are now."""
    breaker = resources.redis.breaker
    BREAKER_OPEN.labels("redis").set(breaker is not None and breaker.is_open)
    connections = count_connections(resources.db)
    DB_CONNECTIONS.labels("in_use").set(connections.in_use)
    DB_CONNECTIONS.labels("idle").set(connections.idle)
    DB_CONNECTIONS_LIMIT.set(connections.limit)
