"""Collects what a scrape reads besides the process's own metrics: Redis, webhooks, Prefect's schedule, health."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from wishcraft.cache.client import Memory
from wishcraft.cache.counters import Series, from_zero
from wishcraft.cache.inspection import KeyStatistics, estimate_key_statistics
from wishcraft.cache.usage import Usage
from wishcraft.cache.webhook_queue import WebhookQueue
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable
from wishcraft.observability.metrics import BREAKER_OPEN, DB_CONNECTIONS, DB_CONNECTIONS_LIMIT
from wishcraft.resources import Resources
from wishcraft.services.health.monitor import Health, HealthMonitor, find_inbox_state
from wishcraft.services.single_flight import SingleFlightCache
from wishcraft.store import shops
from wishcraft.store.connections import count_connections
from wishcraft.store.webhook_inbox import InboxState

OPTIONAL_TIMEOUT_SECONDS: Final = 0.5
"""How long a scrape waits for shop names and key statistics before it uses the last ones."""
INBOX_TIMEOUT_SECONDS: Final = 1.0
KEY_STATISTICS_TTL_SECONDS: Final = 60.0
SHOPS_TTL_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class RedisMetrics:
    """Metrics read from Redis, the same in every process."""

    memory: Memory
    counters: Mapping[str, list[Series]]
    usage: Mapping[str, Usage]
    """By shop domain."""
    keys: KeyStatistics
    queued_webhooks: int


@dataclass(frozen=True, slots=True)
class CollectedMetrics:
    """Result of one collection; `redis` is None while Redis does not answer, `inbox` while PostgreSQL does not."""

    health: Health
    overdue_runs: Mapping[str, int]
    """By job."""
    redis: RedisMetrics | None
    inbox: InboxState | None


class MetricsCollector:
    """Collects metrics within about two seconds, whichever store is down. Create one a process."""

    def __init__(self, resources: Resources, monitor: HealthMonitor, mail_provider: str) -> None:
        self._resources = resources
        self._mail_provider = mail_provider
        self._monitor = monitor
        self._shops = SingleFlightCache(self._find_shops, SHOPS_TTL_SECONDS)
        self._keys = SingleFlightCache(lambda: estimate_key_statistics(resources.redis), KEY_STATISTICS_TTL_SECONDS)
        self._inbox = SingleFlightCache(lambda: find_inbox_state(resources), 0)

    async def collect(self) -> CollectedMetrics:
        """Update this process's gauges, and read the rest."""
        update_gauges(self._resources)
        health, redis, inbox = await asyncio.gather(self._monitor.health(), self._read_redis(), self._read_inbox())
        return CollectedMetrics(health, self._monitor.overdue_runs, redis, inbox)

    async def close(self) -> None:
        """Cancel running reads."""
        await self._shops.close()
        await self._keys.close()
        await self._inbox.close()

    async def _read_redis(self) -> RedisMetrics | None:
        resources = self._resources
        domains = await self._shops.get_within(OPTIONAL_TIMEOUT_SECONDS) or {}  # the last ones if PostgreSQL is down
        jobs, providers = list(self._monitor.overdue_runs), [self._mail_provider]
        known = {"shop": list(domains.values()), "job": jobs, "provider": providers}
        with suppress(CacheUnavailable):
            with resources.redis.guard():
                memory = await resources.redis.memory()
            return RedisMetrics(
                memory=memory,
                counters=await asyncio.to_thread(from_zero, await resources.counters.read(), known),
                usage={domains[shop_id]: used for shop_id, used in (await resources.usage.read(list(domains))).items()},
                keys=await self._keys.get_within(OPTIONAL_TIMEOUT_SECONDS) or KeyStatistics({}, {}),
                queued_webhooks=await WebhookQueue(resources.redis).length(),
            )
        return None

    async def _read_inbox(self) -> InboxState | None:
        """The state now: an old one would hide that webhooks wait."""
        with suppress(DatabaseUnavailable, TimeoutError):
            async with asyncio.timeout(INBOX_TIMEOUT_SECONDS):
                return await self._inbox.get()
        return None

    async def _find_shops(self) -> dict[int, str]:
        async with self._resources.db.autocommit() as session:
            return {shop.id: shop.domain for shop in await shops.find_active(session)}


def update_gauges(resources: Resources) -> None:
    """Set this process's gauges to their current values."""
    breaker = resources.redis.breaker
    BREAKER_OPEN.labels("redis").set(breaker is not None and breaker.is_open)
    connections = count_connections(resources.db)
    DB_CONNECTIONS.labels("in_use").set(connections.in_use)
    DB_CONNECTIONS.labels("idle").set(connections.idle)
    DB_CONNECTIONS_LIMIT.set(connections.limit)
