"""The API's state for the life of the process: built once at start-up, closed in order at shutdown."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import partial
from typing import Any, Final, NamedTuple

from api.auth.authenticator import Authenticator, TTLCache
from api.large_bodies import LargeBodies
from wishcraft.cache import entries
from wishcraft.cache.read_permit import RENEW_SECONDS, ReadPermit
from wishcraft.cache.registries import CacheState
from wishcraft.cache.webhook_queue import WebhookQueue
from wishcraft.domain.rate_limits import SERVER_FACTOR, Policy
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable, RunStopped
from wishcraft.mail.events.sns import SnsVerifier
from wishcraft.resources import Resources, open_resources
from wishcraft.services.health.monitor import HealthMonitor
from wishcraft.services.operations.metrics_collector import MetricsCollector
from wishcraft.services.operations.sli_recorder import SliRecorder
from wishcraft.services.operations.traffic_recorder import TrafficRecorder
from wishcraft.services.registries.public_list import PublicLists
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.services.registries.write import find_pending, replay_invalidations
from wishcraft.services.shops.install import Installation, start_first_runs
from wishcraft.services.shops.settings import replace_outdated_entries
from wishcraft.services.single_flight import SingleFlightCache
from wishcraft.services.variants.reader import VariantReader
from wishcraft.services.webhooks.inbox import Inbox
from wishcraft.settings import Settings
from wishcraft.store import shops
from wishcraft.store.replica import Replica
from wishcraft.store.schema import ShopSettings
from wishcraft.urls.mail import mail_provider

_REVALIDATE_AGAIN_SECONDS: Final = 1.0
_REPLACE_WAIT_SECONDS: Final = 5.0
"""How long the answer to a change of settings waits for the registries to show it: half of a request's deadline."""
_CHECK_REPLICA_SECONDS: Final = 1.0
_REPLACE_AGAIN_SECONDS: Final = 1.0
STOP_SECONDS: Final = 5.0
"""How long tasks may go on at the end of the process: what was counted is saved after them, before it is killed."""
_MINUTE: Final = 60
_log: Final = logging.getLogger(__name__)


class Found(NamedTuple):
    """A cache entry as it is in Redis, and how the reader found it."""

    raw: bytes
    cache_state: CacheState


OnLoaded = Callable[[Found | CacheUnavailable | DatabaseUnavailable], None]


class AppState:
    """Everything that the routes and the fast path share."""

    def __init__(self, resources: Resources, settings: Settings) -> None:
        self.resources = resources
        self.settings = settings
        self.draining = False
        """Whether the process serves its last requests: each response ends its connection."""
        self.reader = RegistryReader(resources)
        self.public_lists = PublicLists(resources)
        self.variants = VariantReader(resources)
        self.inbox = Inbox(resources.db, WebhookQueue(resources.redis))
        self.large_bodies = LargeBodies()
        self.sns = SnsVerifier(resources.http, settings.ses_topic_arns, settings.sns_origin)
        self.shop_settings = TTLCache(self._find_settings, resources)
        """For the colour and the language of the registry page: a change shows after at most `CACHE_SECONDS`."""
        self.traffic_recorder = TrafficRecorder(resources)
        self.health_monitor = HealthMonitor(resources, settings)
        self.metrics = MetricsCollector(resources, self.health_monitor, mail_provider(settings.mail_url))
        self.sli_recorder = SliRecorder(resources, self.health_monitor)
        self.authenticator = Authenticator(resources, settings, self.traffic_recorder, self._start_first_runs)
        # The names are in the RateLimit fields. An administrator in Shopify's admin counts as a visitor, too.
        self.person_policy = Policy("visitor", settings.rate_limit_per_minute, _MINUTE)
        self.server_policy = Policy("key", SERVER_FACTOR * settings.rate_limit_per_minute, _MINUTE)
        self.events_policy = Policy("events", settings.rate_limit_per_minute, _MINUTE)
        """Of one person: each event of a request is a row, kept for months."""
        self._revalidated: OrderedDict[tuple[int, str], float] = OrderedDict()
        """When each may be revalidated again, the soonest first."""
        self.permit = ReadPermit(partial(find_pending, resources))
        resources.cache.permit = self.permit
        self._replay: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def _find_settings(self, shop_id: int) -> ShopSettings:
        async with self.resources.db.autocommit() as session:
            return await shops.find_settings(session, shop_id)

    def start_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` in the background, without the context of a request; `stop` ends it."""
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def load(self, shop_id: int, slug: str, on_loaded: OnLoaded) -> None:
        """Read a registry that Redis does not have, and call `on_loaded` with it or with why it was not read."""
        found: Found | CacheUnavailable | DatabaseUnavailable = CacheUnavailable("the registry was not loaded")
        try:
            entry, cache_state = await self.reader.read(shop_id, slug, was_missing=True)
            found = Found(entries.pack(entry), cache_state)
        except DatabaseUnavailable as error:
            found = error
        except Exception:  # noqa: BLE001  the route answers instead; the error is logged
            _log.exception("A miss could not be loaded. The route answers instead.")
        on_loaded(found)

    def revalidate_in_background(self, shop_id: int, slug: str) -> None:
        """Start a task that renews a stale cache entry, at most one per registry and second."""
        now = time.monotonic()
        if self._revalidated.get((shop_id, slug), 0) > now:
            return
        while self._revalidated and next(iter(self._revalidated.values())) <= now:
            self._revalidated.popitem(last=False)
        self._revalidated[shop_id, slug] = now + _REVALIDATE_AGAIN_SECONDS
        self.start_task(self._revalidate(shop_id, slug))

    async def replace_outdated_entries(self, shop_id: int) -> None:
        """Start to replace the cache entries that new settings outdated, and wait for it at most 5 s."""
        await asyncio.wait({self.start_task(self._replace_outdated_entries(shop_id))}, timeout=_REPLACE_WAIT_SECONDS)

    async def _start_first_runs(self, installed: Installation) -> None:
        """In the background: the merchant does not wait for Prefect."""
        self.start_task(start_first_runs(self.resources, self.settings, installed))

    async def start(self) -> None:
        """Get the permit to use Redis, and keep it from now on.

        A PostgreSQL that does not answer delays it by a second: until it does, entries are served as stale.
        """
        await self.permit.renew()
        self.start_task(self._keep_permit())
        if self.resources.replica:
            self.start_task(self._check_replica(self.resources.replica))

    async def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Wait for the tasks that are under way; cancel those that take longer, such as one that waits for a lock."""
        self._stopping.set()
        _, late = await asyncio.wait({*self._tasks, asyncio.ensure_future(self.inbox.close())}, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _keep_permit(self) -> None:
        while not self._stopping.is_set():
            if self.permit.has_pending and (self._replay is None or self._replay.done()):
                self._replay = self.start_task(self._replay_invalidations())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RENEW_SECONDS)
            await self.permit.renew()
        await self.permit.stop()

    async def _check_replica(self, replica: Replica) -> None:
        """Check once a second how far the replica lags. A check that hangs is joined, and counts as lag."""
        check = SingleFlightCache(replica.check, 0)
        was_current = True
        while not self._stopping.is_set():
            await check.get_within(_CHECK_REPLICA_SECONDS)
            if was_current and not replica.is_current:
                _log.warning("The replica lags or does not answer; guests' lists are read from the primary")
            was_current = replica.is_current
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _CHECK_REPLICA_SECONDS)
        await check.close()

    async def _replay_invalidations(self) -> None:
        """Replay what is pending. What cannot be replayed yet stays pending, and is not read from Redis."""
        try:
            if replayed := await replay_invalidations(self.resources):
                _log.warning("Redis was informed of %d changes that it had missed", replayed)
        except (CacheUnavailable, DatabaseUnavailable) as error:
            _log.debug("Pending invalidations cannot be replayed yet: %s", error)
        except Exception:  # noqa: BLE001  it is logged, and tried again
            _log.exception("The replay of pending invalidations failed")

    async def _replace_outdated_entries(self, shop_id: int) -> None:
        async def stop(_done: int, _total: int) -> None:
            if self._stopping.is_set():
                raise RunStopped("this process ends")

        try:
            while True:
                try:
                    await replace_outdated_entries(self.resources, shop_id, stop)
                except (CacheUnavailable, DatabaseUnavailable) as error:
                    _log.warning("Some registries show a shop's earlier settings; the next try follows: %s", error)
                    await stop(0, 0)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), _REPLACE_AGAIN_SECONDS)
                else:
                    return
        except RunStopped as error:
            _log.warning("Some registries show a shop's earlier settings until check-invariants runs: %s", error)
        except Exception:  # noqa: BLE001  it is logged, and check-invariants does the rest
            _log.exception("The entries of a shop whose settings changed could not be replaced")

    async def _revalidate(self, shop_id: int, slug: str) -> None:
        with suppress(DatabaseUnavailable, CacheUnavailable):
            await self.reader.read(shop_id, slug)


@asynccontextmanager
async def open_app_state(settings: Settings) -> AsyncIterator[AppState]:
    """Open the stores and start the recorders; at the end stop them, which writes what they have counted."""
    async with open_resources(settings, redis_circuit_breaker=True) as resources:
        app_state = AppState(resources, settings)
        await app_state.start()
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
