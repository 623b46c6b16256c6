"""Counts reads, views, analytics events and API key uses in memory, and saves them once a second, outside requests.

A killed process loses the counts since its last flush; a graceful stop flushes first.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from wishcraft.cache.registries import CacheState
from wishcraft.cache.usage import ReadCounts
from wishcraft.errors import CacheUnavailable, DatabaseRefused, DatabaseUnavailable
from wishcraft.observability.metrics import CACHE_READS, FAST_PATH_SECONDS
from wishcraft.resources import Resources
from wishcraft.services.operations.metrics_collector import update_gauges
from wishcraft.store import analytics_events, api_keys
from wishcraft.store.analytics_events import Event

FLUSH_SECONDS: Final = 1.0
MAX_PENDING_EVENTS: Final = 20_000
"""Further events are refused, so that the client can send them again."""
MAX_VIEWED_REGISTRIES: Final = 50_000
"""Views that PostgreSQL did not take are kept only while fewer registries than this have pending views."""

_log: Final = logging.getLogger(__name__)
_COUNT_FIELDS: Final = {
    CacheState.HIT: "hits",
    CacheState.STALE: "stale",
    CacheState.MISS: "misses",
    CacheState.BYPASS: "bypassed",
}
_HIT: Final = CacheState.HIT  # to find it in its class takes four times as long
_READ_COUNTERS: Final = {state: CACHE_READS.labels(state.value) for state in CacheState}
Views = defaultdict[int, defaultdict[str, int]]


def _no_views() -> Views:
    return defaultdict(lambda: defaultdict(int))


class TrafficRecorder:
    """In-memory counts of one process, and the loop that saves them."""

    def __init__(
        self,
        resources: Resources,
        *,
        max_pending_events: int = MAX_PENDING_EVENTS,
        max_viewed_registries: int = MAX_VIEWED_REGISTRIES,
        flush_seconds: float = FLUSH_SECONDS,
    ) -> None:
        self._resources = resources
        self._flush_seconds = flush_seconds
        self._max_viewed_registries = max_viewed_registries
        self.max_pending_events = max_pending_events
        self._reads: defaultdict[int, ReadCounts] = defaultdict(ReadCounts)
        self._pending_usage: defaultdict[int, ReadCounts] = defaultdict(ReadCounts)
        self._views = _no_views()
        self._new_views = _no_views()
        """Views that PostgreSQL has not been given yet."""
        self._unsaved_views = _no_views()
        """Views that PostgreSQL did not take, whose registries have their scores."""
        self._pending_scores = _no_views()
        self._events: list[Event] = []
        self._saving = 0
        """Events that a flush is writing: they wait again if it fails."""
        self._keys_used: set[str] = set()
        self._stopping = asyncio.Event()

    def count_read(self, shop_id: int, slug: str, state: CacheState, sent: int) -> None:
        """Count a read of a registry as a view, with its cache state and the bytes of its body that were sent."""
        reads = self._reads[shop_id]
        reads.bytes_sent += sent
        if state is _HIT:
            reads.hits += 1
        elif state is CacheState.MISS:
            reads.misses += 1
        elif state is CacheState.STALE:
            reads.stale += 1
        else:
            reads.bypassed += 1
        self._views[shop_id][slug] += 1

    def record_key_use(self, prefix: str) -> None:
        """Record that the API key with this prefix was used."""
        self._keys_used.add(prefix)

    def add_events(self, events: Sequence[Event]) -> bool:
        """Queue a guest's events; return False, queueing none, if more than `max_pending_events` would wait."""
        if len(self._events) + self._saving + len(events) > self.max_pending_events:
            return False
        self._events += events
        return True

    async def run(self) -> None:
        """Share and save once a second until `stop` is called, then flush a last time and return.

        Do not cancel it: a write in progress would be lost, and `asyncio.wait_for`, which psycopg uses, may swallow
        a cancellation in Python 3.11.
        """
        saving: asyncio.Task[None] | None = None
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._flush_seconds):
                    await self._stopping.wait()
            await self._try(self.share)
            if saving is None or saving.done():  # PostgreSQL may hang for long
                saving = asyncio.create_task(self._try(self.save))
        if saving:
            await saving
        await self._try(self.flush)

    def stop(self) -> None:
        """Make `run` flush a last time and return."""
        self._stopping.set()

    async def flush(self) -> None:
        """Save the counts so far. What a store does not take is kept for the next flush."""
        await self.share()
        await self.save()

    async def share(self) -> None:
        """Give Redis and Prometheus what they count, and learn from Redis what other processes have counted."""
        update_gauges(self._resources)
        self._publish_reads()
        FAST_PATH_SECONDS.publish()
        with suppress(CacheUnavailable):
            await self._resources.limiter.share()
        await self._resources.counters.flush()
        await self._write_usage()

    async def save(self) -> None:
        """Give PostgreSQL views, events and uses of keys."""
        await self._write_views()
        await self._write_events()
        await self._write_keys_used()

    async def _try(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception:  # noqa: BLE001  a bug in one step must not end all later ones
            _log.exception("Cannot save the traffic counts")

    def _publish_reads(self) -> None:
        """Add the reads to this process's metrics, and queue them and their views for the stores."""
        reads, self._reads = self._reads, defaultdict(ReadCounts)
        for shop_id, counted in reads.items():
            for state, name in _COUNT_FIELDS.items():
                _READ_COUNTERS[state].inc(getattr(counted, name))
            self._pending_usage[shop_id].add(counted)
        views, self._views = self._views, _no_views()
        _add(self._pending_scores, views)
        _add(self._new_views, views)

    async def _write_views(self) -> None:
        new, self._new_views = self._new_views, _no_views()
        waiting, self._unsaved_views = self._unsaved_views, _no_views()
        if not await self._save_views(waiting):
            if sum(map(len, waiting.values())) < self._max_viewed_registries:
                _add(waiting, new)
            self._unsaved_views = waiting
        elif not await self._save_views(new):
            self._unsaved_views = new

    async def _save_views(self, views: Views) -> bool:
        """Save the views; False if PostgreSQL does not answer."""
        if not views:
            return True
        try:
            async with self._resources.db.transaction() as session:
                await analytics_events.add_views(session, views)
        except DatabaseUnavailable as error:
            _log.warning("Cannot save views: PostgreSQL does not answer; they are kept: %s", error)
            return False
        return True

    async def _write_events(self) -> None:
        events, self._events = self._events, []
        if not events:
            return
        self._saving = len(events)
        try:
            async with self._resources.db.transaction() as session:
                await analytics_events.add_events(session, events)
        except DatabaseRefused:  # they would fail each time, and block all later events
            _log.exception("PostgreSQL refuses %d events; they are dropped", len(events))
        except DatabaseUnavailable as error:
            _log.warning("Cannot save %d events: PostgreSQL does not answer; they are kept: %s", len(events), error)
            self._events = events + self._events
        finally:
            self._saving = 0

    async def _write_usage(self) -> None:
        reads, self._pending_usage = self._pending_usage, defaultdict(ReadCounts)
        scores, self._pending_scores = self._pending_scores, _no_views()
        if not reads and not scores:
            return
        try:
            await self._resources.usage.add(reads, scores)
        except CacheUnavailable:
            for shop_id, counted in reads.items():
                self._pending_usage[shop_id].add(counted)
            # The view scores are dropped: a restarted Redis may have lost the entries they belong to.

    async def _write_keys_used(self) -> None:
        used, self._keys_used = self._keys_used, set()
        if not used:
            return
        try:
            async with self._resources.db.transaction() as session:
                await api_keys.record_use(session, sorted(used))
        except DatabaseUnavailable:
            self._keys_used |= used


def _add(views: Views, more: Views) -> None:
    for shop_id, slugs in more.items():
        for slug, count in slugs.items():
            views[shop_id][slug] += count
