"""Counters of all processes, summed up in one hash in Redis: job runs, Shopify's points, mails, the caches.

Counting is in memory; `flush` adds the counts to Redis. A process that is killed loses what it has not flushed.
"""

import asyncio
import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import product
from math import inf
from typing import Final, NamedTuple

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.domain.mail_events import MailOutcome
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import CacheUnavailable


class Kind(StrEnum):
    """The type of a metric family, as in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(NamedTuple):
    """A metric family; every sample has all of its labels."""

    kind: Kind
    help: str
    labels: tuple[str, ...]
    values: tuple[str, ...] = ()
    """All values of the last label, if they are known: their series start at 0."""


RUN_OUTCOMES: Final = ("cancelled", "completed", "crashed", "failed", "refused")
FAMILIES: Final[Mapping[str, Family]] = {
    "cache_fills_total": Family(
        Kind.COUNTER,
        "Fills of cache entries: stored, or refused as outdated or over quota.",
        ("outcome",),
        ("stored", "refused"),
    ),
    "product_reads_total": Family(
        Kind.COUNTER,
        "Variants read to be added or looked up, by cache state: from Redis (hit, and stale while Shopify does not "
        "answer), or from Shopify (miss, and bypass while Redis does not answer).",
        ("state",),
        ("hit", "stale", "miss", "bypass"),
    ),
    "cache_lifetimes_total": Family(
        Kind.COUNTER,
        "Cache entries stored, by soft lifetime in hours, rounded up to 1, 3, 6 or 12.",
        ("hours",),
        ("1", "3", "6", "12"),
    ),
    "cache_revalidations_total": Family(
        Kind.COUNTER,
        "Stale cache entries that a reader loaded again: unchanged, or changed past the product's own writes.",
        ("result",),
        ("unchanged", "changed"),
    ),
    "webhooks_handled_total": Family(
        Kind.COUNTER,
        "Webhooks that were handled, by outcome; retried: they failed or are done in part.",
        ("outcome",),
        (*WebhookOutcome, "retried"),
    ),
    "webhooks_overdue_total": Family(
        Kind.COUNTER,
        "Orders with a change that was read from Shopify and that no webhook brought within four hours.",
        ("shop",),
    ),
    "job_runs_total": Family(
        Kind.COUNTER, "Runs of the jobs that ended, by outcome.", ("job", "outcome"), RUN_OUTCOMES
    ),
    "job_seconds": Family(Kind.HISTOGRAM, "Duration of the jobs' runs.", ("job",)),
    "job_last_success_timestamp_seconds": Family(
        Kind.GAUGE,
        "Unix time at which a run of the job last completed; dry runs, and runs for some shops or days, do not count.",
        ("job",),
    ),
    "shopify_requests_total": Family(Kind.COUNTER, "Requests to Shopify's Admin API.", ("shop",)),
    "shopify_points_total": Family(Kind.COUNTER, "Points that these requests cost, as reported by Shopify.", ("shop",)),
    "shopify_throttled_total": Family(Kind.COUNTER, "Requests that Shopify throttled for lack of points.", ("shop",)),
    "shopify_failed_total": Family(
        Kind.COUNTER, "Requests to Shopify without a usable answer: 5xx, timeouts and lost connections.", ("shop",)
    ),
    "shopify_waited_seconds_total": Family(
        Kind.COUNTER, "Seconds for which queries waited for points, or for another try after an error.", ("shop",)
    ),
    "shopify_forbidden_total": Family(
        Kind.COUNTER, "Queries that Shopify answered with 403, as to an address that the IP allowlist lacks.", ("shop",)
    ),
    "shopify_paused_total": Family(
        Kind.COUNTER, "Queries of requests that were not sent to Shopify, as it had not answered a moment before.", ()
    ),
    "mails_total": Family(
        Kind.COUNTER,
        "Reminders and invitations that were processed, by outcome.",
        ("outcome",),
        ("sent", "suppressed", "refused", "failed", "postponed", "held"),
    ),
    "mail_seconds": Family(Kind.HISTOGRAM, "Time in which a mail was delivered to the mail server, or refused.", ()),
    "mail_unavailable_total": Family(
        Kind.COUNTER, "Mails that were not sent, as the mail server did not answer or refused the connection.", ()
    ),
    "mail_outcomes_total": Family(
        Kind.COUNTER,
        "Mails with an outcome that the mail provider reported: delivered, bounced, complained and so on.",
        ("shop", "provider", "outcome"),
        tuple(MailOutcome),
    ),
    "mail_paused": Family(
        Kind.GAUGE, "Whether the shop sends no mail because of too many complaints, as of its last run.", ("shop",)
    ),
    "invariant_violations": Family(
        Kind.GAUGE, "Violations that the last check of the invariants did not repair.", ("invariant",)
    ),
}
"""Every family; in `/metrics` each name begins with `wishcraft_`."""
SECONDS_BOUNDS: Final = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, inf)
"""The upper bounds of the histogram buckets, in seconds: for runs of jobs, not for requests."""

_SUM: Final = "sum"
_BUCKETS: Final = tuple(str(bound) for bound in SECONDS_BOUNDS)

Labels = tuple[str, ...]
"""Label values in the family's order; in a field of a histogram, a bucket's bound or `sum` follows."""


class Series(NamedTuple):
    """One time series of a family. A histogram's value is its sum, and its buckets are cumulative, by bound."""

    labels: Labels
    value: float
    buckets: Mapping[str, float]


class Counters:
    """The counters of one process; not thread-safe."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._increments = defaultdict[str, float](float)
        self._gauges: dict[str, float | None] = {}

    def count(self, name: str, by: float = 1, **labels: str) -> None:
        """Add to a counter.

        Raises:
            ValueError: There is no such counter, or its labels are others.
        """
        self._increments[_field(Kind.COUNTER, name, tuple(labels.items()))] += by

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Add a duration to a histogram.

        Raises:
            ValueError: There is no such histogram, or its labels are others.
        """
        bucket = _BUCKETS[bisect_left(SECONDS_BOUNDS, seconds)]
        pairs = tuple(labels.items())
        self._increments[_field(Kind.HISTOGRAM, name, pairs, bucket)] += 1
        self._increments[_field(Kind.HISTOGRAM, name, pairs, _SUM)] += seconds

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge, for all processes.

        Raises:
            ValueError: There is no such gauge, or its labels are others.
        """
        self._gauges[_field(Kind.GAUGE, name, tuple(labels.items()))] = value

    def delete(self, name: str, **labels: str) -> None:
        """Delete a gauge, for all processes: what it is about has ended.

        Raises:
            ValueError: There is no such gauge, or its labels are others.
        """
        self._gauges[_field(Kind.GAUGE, name, tuple(labels.items()))] = None

    async def is_first(self, event: str) -> bool:
        """Whether this is the first call for `event` by any process in a day; True while Redis does not answer."""
        try:
            with self._server.guard():
                reply = await self._server.redis.set(keys.once_key(event), 1, nx=True, ex=keys.ONCE_TTL_SECONDS)
                return bool(reply)
        except CacheUnavailable:
            return True

    async def flush(self) -> None:
        """Add the counts to Redis; while Redis does not answer, keep them for the next flush.

        If Redis applies them and the reply is lost, they are added twice.
        """
        increments, self._increments = self._increments, defaultdict(float)
        gauges, self._gauges = self._gauges, {}
        if not increments and not gauges:
            return
        try:
            await self._write(increments, gauges)
        except BaseException as error:
            for field, by in increments.items():
                self._increments[field] += by
            self._gauges = gauges | self._gauges
            if not isinstance(error, CacheUnavailable):
                raise

    async def read(self) -> dict[str, list[Series]]:
        """Every family's series, as flushed by all processes.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        with self._server.guard():
            fields = await self._server.redis.hgetall(keys.COUNTERS)
        return await asyncio.to_thread(_read_fields, fields)  # with thousands of shops it takes long

    async def _write(self, increments: Mapping[str, float], gauges: Mapping[str, float | None]) -> None:
        with self._server.guard():
            async with self._server.redis.pipeline(transaction=True) as pipe:
                for field, by in increments.items():
                    pipe.hincrbyfloat(keys.COUNTERS, field, by)
                for field, value in gauges.items():
                    if value is None:
                        pipe.hdel(keys.COUNTERS, field)
                    else:
                        pipe.hset(keys.COUNTERS, field, value)
                pipe.expire(keys.COUNTERS, keys.COUNTERS_TTL_SECONDS)
                await pipe.execute()


def _read_fields(fields: Mapping[bytes | str, bytes | str]) -> dict[str, list[Series]]:
    values_by_family: dict[str, dict[Labels, float]] = {name: {} for name in FAMILIES}
    for field, value in fields.items():
        name, *labels = json.loads(field)
        if name in values_by_family:  # another release may have further families
            values_by_family[name][tuple(labels)] = float(value)
    return {name: _series(FAMILIES[name], values) for name, values in values_by_family.items()}


def from_zero(families: Mapping[str, list[Series]], known: Mapping[str, Sequence[str]]) -> dict[str, list[Series]]:
    """Add the series that no event has come for, as 0: Prometheus sees an increase only from a value.

    Args:
        families: What `Counters.read` found.
        known: All values of labels such as `shop`; those of a family's last label may be in `FAMILIES`.
    """
    return {name: _from_zero(FAMILIES[name], series, known) for name, series in families.items()}


def _from_zero(family: Family, found: list[Series], known: Mapping[str, Sequence[str]]) -> list[Series]:
    if family.kind is Kind.GAUGE:
        return found
    buckets = dict.fromkeys(_BUCKETS, 0.0) if family.kind is Kind.HISTOGRAM else {}
    values = [known.get(label, ()) for label in family.labels]
    if family.values:
        values[-1] = family.values
    by_labels = {labels: Series(labels, 0.0, buckets) for labels in product(*values)}
    return list({**by_labels, **{each.labels: each for each in found}}.values())


@lru_cache(maxsize=4096)
def _field(kind: Kind, name: str, pairs: tuple[tuple[str, str], ...], *suffix: str) -> str:
    family, labels = FAMILIES.get(name), dict(pairs)
    if family is None or family.kind is not kind or set(family.labels) != labels.keys():
        raise ValueError(f"there is no {kind} {name} with the labels {sorted(labels)}")
    return json.dumps([name, *(labels[label] for label in family.labels), *suffix])


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
