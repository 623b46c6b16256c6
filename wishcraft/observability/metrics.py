"""Prometheus metrics of this process. Counters that jobs increment are in Redis: `wishcraft.cache.counters`.

With PROMETHEUS_MULTIPROC_DIR set, prometheus-client keeps them in files there, one set a process.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a `_created` gauge for each series

PROCESS: Final = CollectorRegistry()
"""The registry of the metrics below; the client's default registry with its Python metrics is not used."""
LATENCY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Histogram bounds in seconds. 0.1 is the objective for the 95th percentile, so compliance is counted exactly."""
REQUEST_SECONDS: Final = Histogram(
    "wishcraft_request_seconds",
    "Time from a request's arrival to the end of its response, by what answered: `edge` (the fast path) or `route`.",
    ["method", "route", "status", "by"],
    buckets=LATENCY_BOUNDS,
    registry=PROCESS,
)


class PendingSeconds:
    """Observations of `REQUEST_SECONDS` for one route and method, as plain numbers until they are published.

    An observation costs a fifth of one of the client's.
    """

    def __init__(self, method: str, route: str, by: str) -> None:
        self._labels = {"method": method, "route": route, "by": by}
        self._pending: dict[int, tuple[list[int], list[float]]] = {}

    def observe(self, status: int, seconds: float) -> None:
        """Count a response."""
        counts, total = self._pending.get(status) or self._begin(status)
        counts[bisect_left(LATENCY_BOUNDS, seconds)] += 1
        total[0] += seconds

    def publish(self) -> None:
        """Add what was counted since the last call to the metric."""
        pending, self._pending = self._pending, {}
        for status, (counts, total) in pending.items():
            child: Any = REQUEST_SECONDS.labels(status=str(status), **self._labels)
            child._sum.inc(total[0])  # noqa: SLF001  the client has no way to add several observations at once
            for bucket, count in zip(child._buckets, counts, strict=True):  # noqa: SLF001
                if count:
                    bucket.inc(count)

    def _begin(self, status: int) -> tuple[list[int], list[float]]:
        self._pending[status] = [0] * (len(LATENCY_BOUNDS) + 1), [0.0]
        return self._pending[status]


FAST_PATH_SECONDS: Final = PendingSeconds("GET", "/api/registries/{ref}", "edge")
"""Of the fast path. Published once a second, and before the metrics are read."""


def read_request_counts() -> Iterator[tuple[str, str, list[int]]]:
    """Route, status and responses by latency bound of each series of `REQUEST_SECONDS`.

    It takes a tenth of the time of `collect`, which makes objects of every figure.
    """
    metric: Any = REQUEST_SECONDS
    for (_, route, status, _), child in dict(metric._metrics).items():  # noqa: SLF001  as above
        yield route, status, [round(bucket.get()) for bucket in child._buckets]  # noqa: SLF001


CACHE_READS: Final = Counter(
    "wishcraft_cache_reads",
    "Reads of one registry by cache state, updated once a second.",
    ["state"],
    registry=PROCESS,
)
LIST_READS: Final = Counter(
    "wishcraft_list_reads",
    "Reads of the public list, by the PostgreSQL that answered: `primary` or `replica`.",
    ["server"],
    registry=PROCESS,
)
WEBHOOKS: Final = Counter(
    "wishcraft_webhooks",
    "Webhooks that were received, by topic (`other` for one that is not subscribed to, `unknown` without a valid"
    " signature) and result: `stored`, `repeated`, `unsigned`, `refused` (malformed), `slow` (the rest of a large body"
    " did not come in time), `crowded` (too many large bodies at once) or `failed` (not stored).",
    ["topic", "result"],
    registry=PROCESS,
)
MAIL_EVENTS: Final = Counter(
    "wishcraft_mail_events",
    "Events of mail providers that were received, by provider and result: `stored`, `repeated`, `foreign` (about no"
    " mail of ours), `unsigned`, `unverified` (the certificate could not be read), `slow` or `crowded`, as webhooks.",
    ["provider", "result"],
    registry=PROCESS,
)
WEBHOOK_COMMIT_SECONDS: Final = Histogram(
    "wishcraft_webhook_commit_seconds",
    "Time from the end of a webhook's request until it is committed and in the queue.",
    buckets=LATENCY_BOUNDS,
    registry=PROCESS,
)
BREAKER_OPEN: Final = Gauge(
    "wishcraft_breaker_open",
    "Whether the circuit breaker of the store is open.",
    ["store"],
    registry=PROCESS,
    multiprocess_mode="livemax",
)
DB_CONNECTIONS: Final = Gauge(
    "wishcraft_db_connections",
    "Open connections to PostgreSQL, by state.",
    ["state"],
    registry=PROCESS,
    multiprocess_mode="livesum",
)
DB_CONNECTIONS_LIMIT: Final = Gauge(
    "wishcraft_db_connections_limit",
    "Limit of open connections to PostgreSQL.",
    registry=PROCESS,
    multiprocess_mode="livesum",
)
