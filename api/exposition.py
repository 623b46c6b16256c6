"""Prometheus text of all metrics: this process's own, and those composed of what `MetricsCollector` collected."""

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
from wishcraft.observability.metrics import FAST_PATH_SECONDS, PROCESS
from wishcraft.services.health.monitor import Health, Status
from wishcraft.services.operations.metrics_collector import CollectedMetrics, RedisMetrics

Samples = Iterable[tuple[Sequence[str], float]]
"""The samples of one family: label values, and the sample's value."""

_HEALTH: Final = {Status.HEALTHY: 1.0, Status.DEGRADED: 0.5, Status.UNHEALTHY: 0.0}
_SHOP_HELP: Final = {
    "hits": "Reads that Redis answered.",
    "stale": "Reads that Redis answered with an entry past its soft expiry.",
    "misses": "Reads that went to PostgreSQL and filled Redis.",
    "bypassed": "Reads that went to PostgreSQL alone.",
    "bytes_sent": "Bytes of registries that were sent.",
    "evictions": "Registries evicted because the shop was over its quota.",
    "entries": "Registries of the shop that Redis holds.",
    "products": "Variants of the shop whose facts Redis holds.",
    "bytes_held": "Bytes that its registries and variants take in Redis.",
}
_SHOP_GAUGES: Final = frozenset({"entries", "products", "bytes_held"})


def render(collected: CollectedMetrics) -> bytes:
    """The text of all metrics. Does no I/O except for the files of PROMETHEUS_MULTIPROC_DIR."""
    FAST_PATH_SECONDS.publish()
    registry = CollectorRegistry()
    registry.register(_process_metrics())
    registry.register(_CollectedFamilies(collected))
    return generate_latest(registry)


def metric_help() -> dict[str, str]:
    """The help text of every metric, by its name in the exposition."""
    empty = CollectedMetrics(Health(status=Status.HEALTHY, checks={}), {}, None, None)
    families = (*PROCESS.collect(), *_CollectedFamilies(empty).collect())
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family.documentation for family in families
    }


def _process_metrics() -> Collector:
    """This process's metrics; with PROMETHEUS_MULTIPROC_DIR, those of all processes that share the folder."""
    try:
        shared: Collector = MultiProcessCollector(None)  # type: ignore[no-untyped-call]
    except ValueError:
        return PROCESS
    folder = shared._path  # type: ignore[attr-defined]  # noqa: SLF001  only settings.py reads the environment
    for file in Path(folder).glob("gauge_live*.db"):
        if not psutil.pid_exists(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)  # a killed process leaves its live gauges behind
    return shared


class _CollectedFamilies(Collector):
    """The collected metrics as Prometheus families."""

    def __init__(self, collected: CollectedMetrics) -> None:
        self._collected = collected

    def collect(self) -> Iterator[Metric]:
        """All families, including those without a sample, so that rules can refer to them."""
        collected = self._collected
        parts = [([part], _HEALTH[check.status]) for part, check in collected.health.checks.items()]
        overdue = [([job], runs) for job, runs in collected.overdue_runs.items()]
        yield _gauge("part_health", "How a part is: 1 healthy, 0.5 degraded, 0 unhealthy.", ("part",), parts)
        yield _gauge("overdue_runs", "Runs that should have begun over five minutes ago.", ("job",), overdue)
        yield _gauge("redis_up", "Whether Redis answers.", (), [((), collected.redis is not None)])
        yield from _redis_server(collected.redis)
        yield from _redis_keys(collected.redis)
        yield from _webhooks(collected)
        for name, family in FAMILIES.items():
            yield _stored_family(name, family, collected.redis.counters[name] if collected.redis else [])
        for field in fields(Usage):
            yield _shop_family(field.name, collected.redis.usage if collected.redis else {})


def _redis_server(redis: RedisMetrics | None) -> Iterator[Metric]:
    used = [((), redis.memory.used)] if redis else []
    limit = [((), redis.memory.limit)] if redis else []
    evictions = [((), redis.memory.evictions)] if redis else []
    yield _gauge("redis_memory_bytes", "Memory that Redis uses.", (), used)
    yield _gauge("redis_memory_limit_bytes", "Memory that Redis may use; 0: no limit.", (), limit)
    yield _counter("redis_evictions", "Keys that Redis evicted for lack of memory.", (), evictions)


def _redis_keys(redis: RedisMetrics | None) -> Iterator[Metric]:
    counts = [([kind], count) for kind, count in redis.keys.counts.items()] if redis else []
    seconds = [
        ((kind, quantile), value)
        for kind, values in (redis.keys.ttls if redis else {}).items()
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


def _webhooks(collected: CollectedMetrics) -> Iterator[Metric]:
    inbox, redis = collected.inbox, collected.redis
    queued = [((), redis.queued_webhooks)] if redis else []
    waiting = [((), inbox.waiting)] if inbox else []
    lag = [((), inbox.lag_seconds)] if inbox else []
    dead = [((), inbox.dead)] if inbox else []
    yield _gauge(
        "webhooks_queued", "Webhooks in the queue in Redis, those that consumers have taken included.", (), queued
    )
    yield _gauge("webhooks_waiting", "Webhooks in the inbox that are not handled, 100,000 at most.", (), waiting)
    yield _gauge("webhook_lag_seconds", "For how long the webhook that is due longest has been due.", (), lag)
    yield _gauge(
        "webhook_dead_letters", "Webhooks that failed for good and wait for a person, 100,000 at most.", (), dead
    )


def _shop_family(name: str, usage: Mapping[str, Usage]) -> Metric:
    make = _gauge if name in _SHOP_GAUGES else _counter
    samples = [([shop], getattr(used, name)) for shop, used in usage.items()]
    return make(f"shop_{name}", _SHOP_HELP[name], ("shop",), samples)


def _stored_family(name: str, family: Family, series: list[Series]) -> Metric:
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
    for label_values, value in samples:
        metric.add_metric(label_values, value)
    return metric


def _counter(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    metric = CounterMetricFamily(f"wishcraft_{name}", text, labels=labels)
    for label_values, value in samples:
        metric.add_metric(label_values, value)
    return metric
