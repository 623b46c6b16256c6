"""What serves requests for as long as the process lives, put together once and stopped in order."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import partial
from typing import Final

from api.auth.authenticator import Authenticator
from wishcraft.domain.callers import Caller
from wishcraft.domain.rate_limits import Policy, Verdict
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable
from wishcraft.resources import Resources, open_resources
from wishcraft.services.health.monitor import HealthMonitor
from wishcraft.services.operations.metrics_collector import MetricsCollector
from wishcraft.services.operations.sli_recorder import SliRecorder
from wishcraft.services.operations.traffic_recorder import TrafficRecorder
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.services.registries.write import recover
from wishcraft.settings import Settings

_REFRESH_AGAIN_SECONDS: Final = 1.0
_MINUTE: Final = 60
_KEYS_TIMES: Final = 10


class AppState:
    """One for the application."""

    def __init__(self, resources: Resources, settings: Settings) -> None:
        self.resources = resources
        self.settings = settings
        self.reader = RegistryReader(resources)
        self.tracker = TrafficRecorder(resources)
        self.watch = HealthMonitor(resources, settings)
        self.measures = MetricsCollector(resources, self.watch)
        self.minutes = SliRecorder(resources, self.watch)
        self.callers = Authenticator(resources, settings, self.tracker)
        self._visitors = Policy("visitor", settings.rate_limit_per_minute, _MINUTE)
        self._keys = Policy("key", _KEYS_TIMES * settings.rate_limit_per_minute, _MINUTE)
        self._refreshed: dict[tuple[int, str], float] = {}
        self._refreshing: set[asyncio.Task[None]] = set()

    def limit(self, caller: Caller) -> tuple[Policy, Verdict]:
        """Count the caller's request, and say whether it is within the limit."""
        policy = self._keys if caller.speaks_for_many else self._visitors
        return policy, self.resources.limiter.take(policy, caller.name)

    def refresh(self, shop_id: int, slug: str) -> None:
        """See to it that an entry past its soft expiry is renewed, without making anybody wait for it."""
        now = time.monotonic()
        if self._refreshed.get((shop_id, slug), 0) > now:
            return
        self._refreshed = {name: until for name, until in self._refreshed.items() if until > now}
        self._refreshed[shop_id, slug] = now + _REFRESH_AGAIN_SECONDS
        task = asyncio.create_task(self._refresh(shop_id, slug), context=Context())
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def stop(self) -> None:
        """Let what was begun end."""
        await asyncio.gather(*self._refreshing)

    async def _refresh(self, shop_id: int, slug: str) -> None:
        with suppress(DatabaseUnavailable, CacheUnavailable):
            await self.reader.read(shop_id, slug)


@asynccontextmanager
async def open_app_state(settings: Settings) -> AsyncIterator[AppState]:
    """Serving, over the stores that the settings name; what it has counted is written down in the end."""
    async with open_resources(settings, redis_breaks=True) as resources:
        serving = AppState(resources, settings)
        if resources.redis.breaker:
            resources.redis.breaker.on_half_open = partial(recover, resources)
        writing = asyncio.create_task(serving.tracker.run())
        minuting = asyncio.create_task(serving.minutes.run())
        try:
            yield serving
        finally:
            await serving.stop()
            serving.tracker.stop()
            await writing
            serving.minutes.stop()
            await minuting  # it looks a last time at how everything is
            await serving.measures.close()
            await serving.watch.close()
