"""Writes down once a minute how this process served, from what it counts for Prometheus anyway: requests pay nothing.

A process that is killed takes its last minute with it. If PostgreSQL takes a minute and its answer is lost, that
minute's figures are added twice.
"""

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from typing import Final

from wishcraft.errors import DatabaseUnavailable
from wishcraft.observability.metrics import CACHE_READS, LATENCY_BOUNDS, REQUEST_SECONDS
from wishcraft.resources import Resources
from wishcraft.services.health.monitor import HealthMonitor, Status
from wishcraft.store import service_minutes
from wishcraft.store.service_minutes import Minute, TrafficCounts

MOST_MINUTES: Final = 1440
"""So many wait for PostgreSQL at most: a day's. Then the oldest are given up."""
_MINUTE: Final = timedelta(minutes=1)
_COUNTED: Final = "/api/"
_NOT_COUNTED: Final = "/api/docs"
_ERRORS: Final = ("5", "0")
"""How the status of a bad answer begins; 0 is for none at all."""
_BOUNDS: Final = [str(bound) for bound in (*LATENCY_BOUNDS, inf)]
_log: Final = logging.getLogger(__name__)


class SliRecorder:
    """One for each process."""

    def __init__(self, resources: Resources, watch: HealthMonitor) -> None:
        self._resources = resources
        self._watch = watch
        self._before = _read()
        self._kept: list[Minute] = []
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Write at the end of each minute, and what there is of the last one once `stop` was called.

        Do not cancel it: what is being written would be lost.
        """
        while not self._stopping.is_set():
            minute = datetime.now(UTC).replace(second=0, microsecond=0)
            with suppress(TimeoutError):
                async with asyncio.timeout((minute + _MINUTE - datetime.now(UTC)).total_seconds()):
                    await self._stopping.wait()
            try:
                await self.write(minute)
            except Exception:  # noqa: BLE001  or nothing would ever be written down again
                _log.exception("How the last minute was served could not be written down")

    def stop(self) -> None:
        """Let `run` come to its end."""
        self._stopping.set()

    async def write(self, minute: datetime) -> None:
        """Add what was done since the last call to this minute; what cannot be written is kept for the next call."""
        able = (await self._watch.health()).status is not Status.UNHEALTHY
        now = _read()
        served, self._before = _difference(now, self._before), now
        self._kept = [*self._kept, Minute(minute, able, served)][-MOST_MINUTES:]
        try:
            async with self._resources.db.transaction() as session:
                await service_minutes.add(session, self._kept)
        except DatabaseUnavailable:
            _log.warning("PostgreSQL is away: %d minutes wait to be written down", len(self._kept))
        else:
            self._kept = []


def _read() -> Counter[str]:
    """What the process has counted since it began: errors, reads by state, requests by the bound they stayed within."""
    found = Counter[str]()
    for metric in (*REQUEST_SECONDS.collect(), *CACHE_READS.collect()):
        for sample in metric.samples:
            labels, value = sample.labels, round(sample.value)
            if sample.name.endswith("reads_total"):
                found[labels["state"]] += value
            elif not labels.get("route", "").startswith(_COUNTED) or labels["route"].startswith(_NOT_COUNTED):
                continue
            elif sample.name.endswith("_bucket"):
                found[str(float(labels["le"]))] += value
            elif sample.name.endswith("_count") and labels["status"].startswith(_ERRORS):
                found["errors"] += value
    return found


def _difference(now: Counter[str], before: Counter[str]) -> TrafficCounts:
    within = [now[bound] - before[bound] for bound in _BOUNDS]
    return TrafficCounts(
        requests=within[-1],
        errors=now["errors"] - before["errors"],
        latencies=[count - smaller for smaller, count in pairwise([0, *within])],
        hits=now["hit"] - before["hit"],
        stale=now["stale"] - before["stale"],
        misses=now["miss"] - before["miss"],
        bypassed=now["bypass"] - before["bypass"],
    )
