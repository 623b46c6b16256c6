"""Counts in this process what readers and guests do, and writes it down once a second, never on a reader's time.

What a process has counted since the last second is lost if it is killed; a stop writes it first.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from wishcraft.cache.registries import CacheState
from wishcraft.cache.usage import ReadCounts
from wishcraft.errors import CacheUnavailable, DatabaseRejected, DatabaseUnavailable
from wishcraft.observability.metrics import CACHE_READS
from wishcraft.resources import Resources
from wishcraft.services.operations.metrics_collector import update_gauges
from wishcraft.store import analytics_events, api_keys
from wishcraft.store.analytics_events import Event

FLUSH_SECONDS: Final = 1.0
MOST_EVENTS: Final = 20_000
"""Events that wait for PostgreSQL at most; what comes then is refused, so that its sender can try again."""
MOST_VIEWED: Final = 50_000
"""Registries whose views wait for PostgreSQL at most: only an outage lets it come to that."""

_log: Final = logging.getLogger(__name__)
_FIELDS: Final = {
    CacheState.HIT: "hits",
    CacheState.STALE: "stale",
    CacheState.MISS: "misses",
    CacheState.BYPASS: "bypassed",
}
_READS: Final = {state: CACHE_READS.labels(state.value) for state in CacheState}
Views = defaultdict[int, defaultdict[str, int]]


def _no_views() -> Views:
    return defaultdict(lambda: defaultdict(int))


class TrafficRecorder:
    """One for each process."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._reads: defaultdict[int, ReadCounts] = defaultdict(ReadCounts)
        self._reads_told: defaultdict[int, ReadCounts] = defaultdict(ReadCounts)
        self._views = _no_views()
        self._scores = _no_views()
        self._events: list[Event] = []
        self._keys_used: set[str] = set()
        self._stopping = asyncio.Event()

    def count_read(self, shop_id: int, slug: str, state: CacheState, sent: int) -> None:
        """A registry was read, and `sent` bytes of its body went out; what was shown is a view."""
        reads = self._reads[shop_id]
        reads.bytes_sent += sent
        if state is CacheState.HIT:
            reads.hits += 1
        elif state is CacheState.MISS:
            reads.misses += 1
        elif state is CacheState.STALE:
            reads.stale += 1
        else:
            reads.bypassed += 1
        self._views[shop_id][slug] += 1

    def note_key(self, prefix: str) -> None:
        """An API key was used."""
        self._keys_used.add(prefix)

    def add_events(self, events: Sequence[Event]) -> bool:
        """Take what a guest did, to be written down soon; False if too much is waiting already."""
        if len(self._events) + len(events) > MOST_EVENTS:
            return False
        self._events += events
        return True

    async def run(self) -> None:
        """Write down once a second, and a last time once `stop` was called.

        Do not cancel it: what is being written would be lost; and `asyncio.wait_for`, with which psycopg waits, may
        swallow a cancellation in Python 3.11.
        """
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._stopping.wait()
            try:
                await self.flush()
            except Exception:  # noqa: BLE001  or nothing would ever be written down again
                _log.exception("What was counted could not be written down")

    def stop(self) -> None:
        """Let `run` come to its end."""
        self._stopping.set()

    async def flush(self) -> None:
        """Write down what was counted so far. What cannot be written is kept for the next time."""
        update_gauges(self._resources)
        self._tell_reads()
        with suppress(CacheUnavailable):
            await self._resources.limiter.share()
        await self._resources.counters.flush()
        await self._write_views()
        await self._write_events()
        await self._write_usage()
        await self._write_keys_used()

    def _tell_reads(self) -> None:
        """Add what was read to this process's metrics, and let it wait to be written down."""
        reads, self._reads = self._reads, defaultdict(ReadCounts)
        for shop_id, counted in reads.items():
            for state, name in _FIELDS.items():
                _READS[state].inc(getattr(counted, name))
            self._reads_told[shop_id].add(counted)

    async def _write_views(self) -> None:
        views, self._views = self._views, _no_views()
        if not views:
            return
        _add(self._scores, views)
        try:
            async with self._resources.db.transaction() as session:
                await analytics_events.add_views(session, views)
        except DatabaseUnavailable:
            _log.warning("Views could not be written down; they are kept for the next time")
            if sum(map(len, self._views.values())) < MOST_VIEWED:
                _add(self._views, views)

    async def _write_events(self) -> None:
        events, self._events = self._events, []
        if not events:
            return
        try:
            async with self._resources.db.transaction() as session:
                await analytics_events.add_events(session, events)
        except DatabaseRejected:  # it would be the same the next time, and nothing be written down ever again
            _log.exception("%d events make no sense to PostgreSQL; they are dropped", len(events))
        except DatabaseUnavailable:
            _log.warning("%d events could not be written down; they are kept for the next time", len(events))
            self._events = events + self._events

    async def _write_usage(self) -> None:
        reads, self._reads_told = self._reads_told, defaultdict(ReadCounts)
        scores, self._scores = self._scores, _no_views()
        if not reads and not scores:
            return
        try:
            await self._resources.usage.add(reads, scores)
        except CacheUnavailable:
            for shop_id, counted in reads.items():
                self._reads_told[shop_id].add(counted)
            # The scores are not kept: a Redis that comes back may have lost the entries that they are of.

    async def _write_keys_used(self) -> None:
        used, self._keys_used = self._keys_used, set()
        if not used:
            return
        with suppress(DatabaseUnavailable):
            async with self._resources.db.transaction() as session:
                await api_keys.record_use(session, sorted(used))


def _add(views: Views, more: Views) -> None:
    for shop_id, of_shop in more.items():
        for slug, count in of_shop.items():
            views[shop_id][slug] += count
