"""The API's state for the life of the process: built once at start-up, closed in order at shutdown."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from typing import Any, Final

from api.auth.authenticator import Authenticator
from wishcraft.domain.callers import Caller
from wishcraft.domain.rate_limits import Policy, Verdict
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable
from wishcraft.resources import Resources, open_resources
from wishcraft.services.health.monitor import HealthMonitor
from wishcraft.services.operations.metrics_collector import MetricsCollector
from wishcraft.services.operations.sli_recorder import SliRecorder
from wishcraft.services.operations.traffic_recorder import TrafficRecorder
from wishcraft.services.registries.reader import READ_SECONDS, RegistryReader
from wishcraft.services.registries.write import recover, replay_invalidations
from wishcraft.settings import Settings

_REVALIDATE_AGAIN_SECONDS: Final = 1.0
_REPLAY_AGAIN_SECONDS: Final = 1.0
_MINUTE: Final = 60
_KEY_FACTOR: Final = 10
"""A server's key may send this many times the requests of a guest or customer."""


class AppState:
    """Everything that the routes and the fast path share."""

    def __init__(self, resources: Resources, settings: Settings) -> None:
        self.resources = resources
        self.settings = settings
        self.reader = RegistryReader(resources)
        self.traffic_recorder = TrafficRecorder(resources)
        self.health_monitor = HealthMonitor(resources, settings)
        self.metrics = MetricsCollector(resources, self.health_monitor)
        self.sli_recorder = SliRecorder(resources, self.health_monitor)
        self.authenticator = Authenticator(resources, settings, self.traffic_recorder)
        self._visitors = Policy("visitor", settings.rate_limit_per_minute, _MINUTE)
        self._keys = Policy("key", _KEY_FACTOR * settings.rate_limit_per_minute, _MINUTE)
        self._revalidated: dict[tuple[int, str], float] = {}
        self._is_replaying = False
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def limit(self, caller: Caller) -> tuple[Policy, Verdict]:
        """Count a request of the caller against its rate limit."""
        policy = self._keys if caller.is_server else self._visitors
        return policy, self.resources.limiter.take(policy, caller.name)

    def revalidate_in_background(self, shop_id: int, slug: str) -> None:
        """Start a task that renews a stale cache entry, at most one per registry and second."""
        now = time.monotonic()
        if self._revalidated.get((shop_id, slug), 0) > now:
            return
        self._revalidated = {registry: until for registry, until in self._revalidated.items() if until > now}
        self._revalidated[shop_id, slug] = now + _REVALIDATE_AGAIN_SECONDS
        self._start(self._revalidate(shop_id, slug))

    async def recover(self) -> None:
        """Replay pending invalidations before Redis is used; in the background while PostgreSQL does not answer.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        if not await recover(self.resources) and not self._is_replaying:
            self._is_replaying = True
            self._start(self._replay_later())

    async def recover_at_start(self) -> None:
        """`recover`, for at most `READ_SECONDS`: readiness must not wait for a hanging PostgreSQL."""

        async def attempt() -> None:
            try:
                await self.recover()
            except CacheUnavailable:
                if self.resources.redis.breaker:
                    self.resources.redis.breaker.open()

        await asyncio.wait({self._start(attempt())}, timeout=READ_SECONDS)

    async def stop(self) -> None:
        """Wait for the tasks that are under way."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def _replay_later(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _REPLAY_AGAIN_SECONDS)
            with suppress(Exception):  # `recover` has logged the first one
                await replay_invalidations(self.resources)
                break
        self._is_replaying = False

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _revalidate(self, shop_id: int, slug: str) -> None:
        with suppress(DatabaseUnavailable, CacheUnavailable):
            await self.reader.read(shop_id, slug)


@asynccontextmanager
async def open_app_state(settings: Settings) -> AsyncIterator[AppState]:
    """Open the stores and start the recorders; at the end stop them, which writes what they have counted."""
    async with open_resources(settings, redis_circuit_breaker=True) as resources:
        app_state = AppState(resources, settings)
        if resources.redis.breaker:
            resources.redis.breaker.on_half_open = app_state.recover
        await app_state.recover_at_start()
        traffic_recorder = asyncio.create_task(app_state.traffic_recorder.run())
        sli_recorder = asyncio.create_task(app_state.sli_recorder.run())
        try:
            yield app_state
        finally:
            await app_state.stop()
            app_state.traffic_recorder.stop()
            await traffic_recorder
            app_state.sli_recorder.stop()
            await sli_recorder  # it checks the service's health a last time, so the health monitor closes after it
            await app_state.metrics.close()
            await app_state.health_monitor.close()
