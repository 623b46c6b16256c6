"""The metrics as Prometheus reads them: this process's own, and those that are made anew from what a scrape found."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from math import inf
from pathlib import Path
from typing import Final

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from wishcraft.cache.counters import FAMILIES, Family, Kind, Series
from wishcraft.cache.usage import Usage
from wishcraft.observability.metrics import PROCESS
from wishcraft.services.health.monitor import Health, Status
from wishcraft.services.operations.metrics_collector import CollectedMetrics, RedisMetrics

Samples = Iterable[tuple[Sequence[str], float]]
"""A family's: the values of its labels, and its own."""

_HEALTH: Final = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}
_OF_SHOPS: Final = {
    "hits": "Reads that Redis answered.",
    "stale": "Reads that Redis answered with an entry past its soft expiry.",
    "misses": "Reads that went to PostgreSQL and filled Redis.",
    "bypassed": "Reads that went to PostgreSQL alone.",
    "bytes_sent": "Bytes of registries that were sent.",
    "evictions": "Entries given up because the shop was over its quota.",
    "entries": "Registries of the shop that Redis holds.",
    "bytes_held": "Bytes that they take.",
}
_SHOP_GAUGES: Final = frozenset({"entries", "bytes_held"})


def render(measured: CollectedMetrics) -> bytes:
    """The text of all metrics. It takes milliseconds, and waits for nobody."""
    registry = CollectorRegistry()
    registry.register(_processes())
    registry.register(_Found(measured))
    return generate_latest(registry)


def described() -> dict[str, str]:
    """The name of every metric there is, as it is told, and its help."""
    nothing = CollectedMetrics(Health(status=Status.HEALTHY, checks={}), {}, None)
    families = (*PROCESS.collect(), *_Found(nothing).collect())
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family.documentation for family in families
    }


def _processes() -> Collector:
    """What this process counted; with PROMETHEUS_MULTIPROC_DIR, what all have that share the folder."""
    try:
        together: Collector = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
    except ValueError:
        return PROCESS
    folder = together._path  # type: ignore[attr-defined]  # noqa: SLF001  only settings.py reads the environment
    for left in Path(folder).glob("gauge_live*.db"):
        if not psutil.pid_exists(int(left.stem.rpartition("_")[2])):
            left.unlink(missing_ok=True)  # what a process measured that was killed is no more
    return together


class _Found(Collector):
    """What a scrape found, as metrics."""

    def __init__(self, measured: CollectedMetrics) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        """All families; those without a sample too, so that what is watched for is known to exist."""
        found = self._measured
        parts = [([part], _HEALTH[check.status]) for part, check in found.health.checks.items()]
        overdue = [([job], runs) for job, runs in found.overdue.items()]
        yield _gauge("part_health", "How a part is: 1 healthy, 0.5 degraded, 0 unhealthy.", ("part",), parts)
        yield _gauge("overdue_runs", "Runs that should have begun over five minutes ago.", ("job",), overdue)
        yield _gauge("redis_up", "Whether Redis answers.", (), [((), found.in_redis is not None)])
        yield from _server(found.in_redis)
        yield from _keys(found.in_redis)
        for name, family in FAMILIES.items():
            yield _counted(name, family, found.in_redis.counted[name] if found.in_redis else [])
        for field in fields(Usage):
            yield _of_shops(field.name, found.in_redis.usage if found.in_redis else {})


def _server(found: RedisMetrics | None) -> Iterator[Metric]:
    used = [((), found.memory.used)] if found else []
    limit = [((), found.memory.limit)] if found else []
    evictions = [((), found.evictions)] if found else []
    yield _gauge("redis_memory_bytes", "Memory that Redis uses.", (), used)
    yield _gauge("redis_memory_limit_bytes", "Memory that Redis may use; 0: no limit.", (), limit)
    yield _counter("redis_evictions", "Keys that Redis gave up for want of memory.", (), evictions)


def _keys(found: RedisMetrics | None) -> Iterator[Metric]:
    counts = [([kind], count) for kind, count in found.census.counts.items()] if found else []
    seconds = [
        ((kind, quantile), value)
        for kind, values in (found.census.ttls if found else {}).items()
        for quantile, value in zip(("0", "0.5", "1"), values, strict=True)
    ]
    estimate = "an estimate from a sample of 5,000 keys, taken at most once a minute."
    yield _gauge("redis_keys", f"Keys by kind: {estimate}", ("kind",), counts)
    yield _gauge(
        "redis_key_ttl_seconds",
        f"How long keys live yet, the least, median and most: {estimate}",
        ("kind", "quantile"),
        seconds,
    )


def _of_shops(name: str, usage: Mapping[str, Usage]) -> Metric:
    make = _gauge if name in _SHOP_GAUGES else _counter
    samples = [([shop], getattr(used, name)) for shop, used in usage.items()]
    return make(f"shop_{name}", _OF_SHOPS[name], ("shop",), samples)


def _counted(name: str, family: Family, series: list[Series]) -> Metric:
    if family.kind is Kind.HISTOGRAM:
        return _histogram(name, family, series)
    make = _gauge if family.kind is Kind.GAUGE else _counter
    return make(name, family.help, family.labels, [(each.labels, each.value) for each in series])


def _histogram(name: str, family: Family, series: list[Series]) -> Metric:
    metric = HistogramMetricFamily(f"wishcraft_{name}", family.help, labels=family.labels)
    for each in series:
        buckets = [("+Inf" if float(bound) == inf else bound, count) for bound, count in each.buckets.items()]
        metric.add_metric(each.labels, buckets, each.value)
    return metric


def _gauge(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    metric = GaugeMetricFamily(f"wishcraft_{name}", text, labels=labels)
    for of_labels, value in samples:
        metric.add_metric(of_labels, value)
    return metric


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    metric = CounterMetricFamily(f"wishcraft_{name}", text, labels=labels)
    for of_labels, value in samples:
        metric.add_metric(of_labels, value)
    return metric
