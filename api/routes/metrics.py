"""`/metrics` for Prometheus. It answers also if a store is unavailable."""

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
async def metrics(request: Request, app_state: AppStateDep) -> Response:
    """All metrics. Without Redis, those kept in it have no samples, and `wishcraft_redis_up` is 0."""
    require_token(request, app_state.settings)
    collected = await app_state.metrics.collect()
    text = await asyncio.to_thread(render, collected)  # slow with thousands of shops
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def require_token(request: Request, settings: Settings) -> None:
    """Answer 401 without METRICS_TOKEN; in production, 404 if the setting is empty."""
    if not settings.metrics_token:
        if settings.environment == "production":
            raise not_found("METRICS_TOKEN is not set. Set it to open this page.")
        return
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(token.encode(), settings.metrics_token.get_secret_value().encode()):
        raise unauthorized("Send METRICS_TOKEN as a bearer token.")
