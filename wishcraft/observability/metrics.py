"""What this process counts and measures for Prometheus. What jobs count is summed up in Redis: `cache.counters`.

With PROMETHEUS_MULTIPROC_DIR set, prometheus-client keeps it in files there, one set for each process.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a gauge beside each series that says when it began

PROCESS: Final = CollectorRegistry()
"""All that is in here, and nothing else."""
LATENCY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds. One of them is 0.1: the objective for the 95th percentile is exact there."""
REQUEST_SECONDS: Final = Histogram(
    "wishcraft_request_seconds",
    "Time from a request's arrival to the end of its answer, by who answered: the edge or a route.",
    ["method", "route", "status", "by"],
    buckets=LATENCY_BOUNDS,
    registry=PROCESS,
)
CACHE_READS: Final = Counter(
    "wishcraft_cache_reads",
    "Reads of one registry, by what the cache made of them; brought up to date once a second.",
    ["state"],
    registry=PROCESS,
)
BREAKER_OPEN: Final = Gauge(
    "wishcraft_breaker_open",
    "Whether a process takes the store for away and leaves it alone.",
    ["store"],
    registry=PROCESS,
    multiprocess_mode="livemax",
)
DB_CONNECTIONS: Final = Gauge(
    "wishcraft_db_connections",
    "Connections to PostgreSQL that are open.",
    ["state"],
    registry=PROCESS,
    multiprocess_mode="livesum",
)
DB_CONNECTIONS_LIMIT: Final = Gauge(
    "wishcraft_db_connections_limit",
    "Connections to PostgreSQL that may be open.",
    registry=PROCESS,
    multiprocess_mode="livesum",
)
