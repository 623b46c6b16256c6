"""`/metrics`: what Prometheus reads, whichever store is away."""

import asyncio
import hmac
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from api.auth.dependencies import AppStateDep
from api.exposition import render
from api.problems import not_found, unauthorized
from wishcraft.settings import Settings

router: Final = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, serving: AppStateDep) -> Response:
    """All metrics; those of an absent store have no samples, and `wishcraft_redis_up` is 0 while Redis is away."""
    _admit(request, serving.settings)
    measured = await serving.measures.collect()
    text = await asyncio.to_thread(render, measured)  # with thousands of shops it takes its time
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _admit(request: Request, settings: Settings) -> None:
    if not settings.metrics_token:
        if settings.environment == "production":
            raise not_found("METRICS_TOKEN is not set.")
        return
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(shown.encode(), settings.metrics_token.get_secret_value().encode()):
        raise unauthorized("Show METRICS_TOKEN as a bearer token.")
