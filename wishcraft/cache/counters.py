"""What all processes count together, summed up in one hash in Redis: what jobs do, Shopify's points, mails, fills.

Counting is in memory and costs nothing; `flush` adds it up. What a process has not flushed is lost if it is killed.
"""

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from enum import StrEnum
from math import inf
from typing import Final, NamedTuple

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.errors import CacheUnavailable


class Kind(StrEnum):
    """What a family's samples are, as Prometheus has it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """What is counted under one name: its labels' names are always all given."""

    kind: Kind
    help: str
    labels: tuple[str, ...]


FAMILIES: Final[Mapping[str, Family]] = {
    "cache_fills_total": Family(
        Kind.COUNTER,
        "Registries that were to be put in Redis: stored, or refused as outdated or over quota.",
        ("outcome",),
    ),
    "job_runs_total": Family(Kind.COUNTER, "Runs of the jobs that ended, by how.", ("job", "outcome")),
    "job_seconds": Family(Kind.HISTOGRAM, "How long the jobs' runs took.", ("job",)),
    "job_last_success_timestamp_seconds": Family(
        Kind.GAUGE, "When a run of the job completed last, in Unix time.", ("job",)
    ),
    "shopify_requests_total": Family(Kind.COUNTER, "Queries that were sent to Shopify's Admin API.", ("shop",)),
    "shopify_points_total": Family(Kind.COUNTER, "Points that these queries cost, as Shopify says.", ("shop",)),
    "shopify_throttled_total": Family(Kind.COUNTER, "Queries that Shopify put off for want of points.", ("shop",)),
    "mails_total": Family(Kind.COUNTER, "Reminders that were taken up, by what became of them.", ("outcome",)),
    "invariant_violations": Family(
        Kind.GAUGE, "Violations that the last check of the invariants left unrepaired.", ("invariant",)
    ),
}
"""All that can be counted; in `/metrics` each name begins with `wishcraft_`."""
SECONDS_BOUNDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, inf)
"""The upper bounds of the histograms' buckets, in seconds: a job's run, not a request's."""

_SUM: Final = "sum"
_BUCKETS: Final = tuple(str(bound) for bound in SECONDS_BOUNDS)

Labels = tuple[str, ...]
"""The values of a family's labels, in their order; in a histogram's field a bucket's bound or `sum` follows."""


class Series(NamedTuple):
    """One line of a family: its labels' values, and its value; of a histogram also its cumulated buckets by bound."""

    labels: Labels
    value: float
    buckets: Mapping[str, float]


class Counters:
    """One for each process; safe to use wherever its event loop runs."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._added = defaultdict[str, float](float)
        self._set: dict[str, float] = {}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter.

        Raises:
            ValueError: There is no such counter, or these are not its labels.
        """
        self._added[_field(Kind.COUNTER, name, labels)] += by

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram.

        Raises:
            ValueError: There is no such histogram, or these are not its labels.
        """
        bucket = _BUCKETS[bisect_left(SECONDS_BOUNDS, seconds)]
        self._added[_field(Kind.HISTOGRAM, name, labels, bucket)] += 1
        self._added[_field(Kind.HISTOGRAM, name, labels, _SUM)] += seconds

    def set(self, name: str, value: float, **labels: str) -> None:
        """Say what a gauge is now, for all processes.

        Raises:
            ValueError: There is no such gauge, or these are not its labels.
        """
        self._set[_field(Kind.GAUGE, name, labels)] = value

    async def is_first(self, what: str) -> bool:
        """Whether no process has asked this about `what` in the last day; while Redis is away, each is the first."""
        try:
            with self._server.answering():
                asked = self._server.redis.set(keys.once_key(what), 1, nx=True, ex=keys.ONCE_TTL_SECONDS)
                return bool(await asked)
        except CacheUnavailable:
            return True

    async def flush(self) -> None:
        """Add to Redis what was counted; while it is away, keep it for the next time.

        If Redis takes it and its answer is lost, it is added twice.
        """
        added, self._added = self._added, defaultdict(float)
        given, self._set = self._set, {}
        if not added and not given:
            return
        try:
            await self._write(added, given)
        except BaseException as error:
            for field, by in added.items():
                self._added[field] += by
            self._set = given | self._set
            if not isinstance(error, CacheUnavailable):
                raise

    async def read(self) -> dict[str, list[Series]]:
        """Every family's series, as all processes have flushed them.

        Raises:
            CacheUnavailable: Redis is away.
        """
        with self._server.answering():
            fields = await self._server.redis.hgetall(keys.COUNTERS)
        found: dict[str, dict[Labels, float]] = {name: {} for name in FAMILIES}
        for field, value in fields.items():
            name, *labels = json.loads(field)
            if name in found:  # another release may count what this one does not know
                found[name][tuple(labels)] = float(value)
        return {name: _series(FAMILIES[name], values) for name, values in found.items()}

    async def _write(self, added: Mapping[str, float], given: Mapping[str, float]) -> None:
        with self._server.answering():
            async with self._server.redis.pipeline(transaction=True) as pipe:
                for field, by in added.items():
                    pipe.hincrbyfloat(keys.COUNTERS, field, by)
                for field, value in given.items():
                    pipe.hset(keys.COUNTERS, field, value)
                pipe.expire(keys.COUNTERS, keys.COUNTERS_TTL_SECONDS)
                await pipe.execute()


def _field(kind: Kind, name: str, labels: Mapping[str, str], *part: str) -> str:
    family = FAMILIES.get(name)
    if family is None or family.kind is not kind or set(family.labels) != labels.keys():
        raise ValueError(f"there is no {kind} {name} with the labels {sorted(labels)}")
    return json.dumps([name, *(labels[label] for label in family.labels), *part])


def _series(family: Family, values: Mapping[Labels, float]) -> list[Series]:
    if family.kind is not Kind.HISTOGRAM:
        return [Series(labels, value, {}) for labels, value in sorted(values.items())]
    series = []
    for labels in sorted({labels[:-1] for labels in values}):
        buckets, total = {}, 0.0
        for bound in _BUCKETS:
            total += values.get((*labels, bound), 0.0)
            buckets[bound] = total
        series.append(Series(labels, values.get((*labels, _SUM), 0.0), buckets))
    return series
