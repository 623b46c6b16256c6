"""Records the service level indicators of each minute in PostgreSQL, from the process's Prometheus metrics.

A killed process loses its current minute. If the connection breaks after a commit and before its confirmation, the
minute's figures are added twice.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from math import inf
from typing import Final

from wishcraft.errors import DatabaseUnavailable
from wishcraft.observability.metrics import CACHE_READS, FAST_PATH_SECONDS, LATENCY_BOUNDS, read_request_counts
from wishcraft.resources import Resources
from wishcraft.services.health.monitor import HealthMonitor, Status
from wishcraft.store import service_minutes
from wishcraft.store.service_minutes import Minute, TrafficCounts

MAX_PENDING_MINUTES: Final = 1440
"""One day of minutes waits for PostgreSQL at most; the oldest are dropped."""
_MINUTE: Final = timedelta(minutes=1)
_COUNTED_PREFIX: Final = "/api/"
_EXCLUDED_PREFIX: Final = "/api/docs"
_ERROR_PREFIXES: Final = ("5", "0")
"""First digits of the statuses that count as errors; the status is 0 if no response was sent."""
_BOUNDS: Final = [str(bound) for bound in (*LATENCY_BOUNDS, inf)]
_log: Final = logging.getLogger(__name__)


class SliRecorder:
    """Writes one row a minute. Create one a process."""

    def __init__(
        self,
        resources: Resources,
        monitor: HealthMonitor,
        *,
        interval: timedelta = _MINUTE,
        max_pending_minutes: int = MAX_PENDING_MINUTES,
    ) -> None:
        self._resources = resources
        self._interval = interval
        self._max_pending_minutes = max_pending_minutes
        self._monitor = monitor
        self._previous = _read_counts()
        self._pending: list[Minute] = []
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Write at the end of each minute until `stop` is called, then write the part of the last minute and return.

        Do not cancel it: a write in progress would be lost.
        """
        saving: asyncio.Task[None] | None = None
        while not self._stopping.is_set():
            minute = datetime.now(UTC).replace(second=0, microsecond=0)
            with suppress(TimeoutError):
                async with asyncio.timeout((minute + self._interval - datetime.now(UTC)).total_seconds()):
                    await self._stopping.wait()
            await self._try(self.collect(minute))
            if saving is None or saving.done():  # PostgreSQL may hang for long, and each minute needs its row
                saving = asyncio.create_task(self._try(self.save()))
        if saving:
            await saving
        await self._try(self.save())

    def stop(self) -> None:
        """Make `run` write a last time and return."""
        self._stopping.set()

    async def collect(self, minute: datetime) -> None:
        """Let the counts since the last call wait to be added to `minute`."""
        available = (await self._monitor.health()).status is not Status.UNHEALTHY
        current = _read_counts()
        traffic, self._previous = _difference(current, self._previous), current
        self._keep([*self._pending, Minute(minute, available, traffic)])

    async def save(self) -> None:
        """Write the minutes that wait. What PostgreSQL does not take waits for the next call."""
        minutes, self._pending = self._pending, []
        if not minutes:
            return
        try:
            async with self._resources.db.transaction() as session:
                await service_minutes.add(session, minutes)
        except BaseException as error:
            self._keep([*minutes, *self._pending])
            if not isinstance(error, DatabaseUnavailable):
                raise
            pending = len(self._pending)
            _log.warning("PostgreSQL does not answer; %d minutes of indicators are pending: %s", pending, error)

    def _keep(self, minutes: list[Minute]) -> None:
        self._pending = minutes[-self._max_pending_minutes :]

    async def _try(self, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception:  # noqa: BLE001  a bug in one step must not end all later ones
            _log.exception("Cannot write the service level indicators of a minute")


def _read_counts() -> Counter[str]:
    """Return totals since the process started: errors, reads by cache state, requests by histogram bound."""
    FAST_PATH_SECONDS.publish()
    totals = Counter[str]()
    for route, status, counts in read_request_counts():
        if not route.startswith(_COUNTED_PREFIX) or route.startswith(_EXCLUDED_PREFIX):
            continue
        for bound, within in zip(_BOUNDS, accumulate(counts), strict=True):
            totals[bound] += within
        if status.startswith(_ERROR_PREFIXES):
            totals["errors"] += sum(counts)
    for metric in CACHE_READS.collect():
        for sample in metric.samples:
            totals[sample.labels["state"]] += round(sample.value)
    return totals


def _difference(current: Counter[str], previous: Counter[str]) -> TrafficCounts:
    within = [current[bound] - previous[bound] for bound in _BOUNDS]
    return TrafficCounts(
        requests=within[-1],
        errors=current["errors"] - previous["errors"],
        latencies=[count - smaller for smaller, count in pairwise([0, *within])],
        hits=current["hit"] - previous["hit"],
        stale=current["stale"] - previous["stale"],
        misses=current["miss"] - previous["miss"],
        bypassed=current["bypass"] - previous["bypass"],
    )
