"""`/metrics`: what Prometheus reads. The counters are summed up in Redis, so any process tells those of all."""

import hmac
from collections.abc import Iterator
from dataclasses import fields
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.identity import ServingHere
from api.problems import not_found, unauthorized
from wishcraft.cache.usage import Usage
from wishcraft.errors import CacheUnavailable
from wishcraft.settings import Settings
from wishcraft.store import shops

router: Final = APIRouter()

_GAUGES: Final = {
    "entries": "Registries of the shop that Redis holds.",
    "bytes_held": "Bytes that they take.",
}
_COUNTERS: Final = {
    "hits": "Reads that Redis answered.",
    "stale": "Reads that Redis answered with an entry past its soft expiry.",
    "misses": "Reads that went to PostgreSQL and filled Redis.",
    "bypassed": "Reads that went to PostgreSQL alone.",
    "bytes_sent": "Bytes of registries that were sent.",
    "evictions": "Entries given up because the shop was over its quota.",
}


class _Shops(Collector):
    """Each shop's usage as metrics."""

    def __init__(self, usage: dict[str, Usage]) -> None:
        self._usage = usage

    def collect(self) -> Iterator[Metric]:
        """One family for each figure, one sample for each shop."""
        for field in fields(Usage):
            name = f"wishcraft_shop_{field.name}"
            family: CounterMetricFamily | GaugeMetricFamily
            if field.name in _COUNTERS:
                family = CounterMetricFamily(name, _COUNTERS[field.name], labels=["shop"])
            else:
                family = GaugeMetricFamily(name, _GAUGES[field.name], labels=["shop"])
            for shop, used in self._usage.items():
                family.add_metric([shop], getattr(used, field.name))
            yield family


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, serving: ServingHere) -> Response:
    """Each active shop's usage; `wishcraft_redis_up` is 0 and nothing else is told while Redis is away."""
    _admit(request, serving.settings)
    async with serving.resources.db.reading() as session:
        found = {shop.id: shop.domain for shop in await shops.find_active(session)}
    up = GaugeMetricFamily("wishcraft_redis_up", "Whether Redis answers.", value=1)
    try:
        used = await serving.resources.usage.read(list(found))
    except CacheUnavailable:
        used, up = {}, GaugeMetricFamily("wishcraft_redis_up", "Whether Redis answers.", value=0)
    registry = CollectorRegistry()
    registry.register(_Shops({found[shop_id]: each for shop_id, each in used.items()}))
    registry.register(_One(up))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _One(Collector):
    """A metric that is there already."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        """The metric."""
        yield self._metric


def _admit(request: Request, settings: Settings) -> None:
    if settings.metrics_token is None:
        if settings.environment == "production":
            raise not_found("METRICS_TOKEN is not set.")
        return
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(shown.encode(), settings.metrics_token.get_secret_value().encode()):
        raise unauthorized("Show METRICS_TOKEN as a bearer token.")
