"""What this process counts for Prometheus about the requests that it answers. What jobs count is summed up in Redis.

With PROMETHEUS_MULTIPROC_DIR set, prometheus-client sums it up over the processes that share the folder.
"""

from typing import Final

from prometheus_client import Counter, Histogram

LATENCY_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds. One of them is 0.1: the objective for the 95th percentile is exact there."""
REQUEST_SECONDS: Final = Histogram(
    "wishcraft_request_seconds",
    "Time from a request's arrival to the end of its answer, by who answered: the edge or a route.",
    ["method", "route", "status", "by"],
    buckets=LATENCY_BOUNDS,
)
CACHE_READS: Final = Counter(
    "wishcraft_cache_reads", "Reads of one registry, by what the cache made of them.", ["state"]
)
