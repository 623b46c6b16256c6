"""Whether the service lives, can serve, and is well: for load balancers, orchestrators and people."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request, Response

from api.auth.dependencies import AppStateDep
from wishcraft.services.health.monitor import Health, Status

router: Final = APIRouter(prefix="/health", tags=["health"])


@router.get("", summary="How everything is")
async def health(app_state: AppStateDep) -> Health:
    """Each part's state, at most a second old. Always 200: `degraded` is for people, not for a load balancer."""
    return await app_state.health_monitor.health()


@router.get("/liveness", summary="Whether the process answers")
async def liveness() -> dict[str, str]:
    """Touches nothing outside the process: a store that is away is no reason to restart it."""
    return {"status": "alive"}


@router.get(
    "/readiness",
    summary="Whether requests can be served",
    responses={HTTPStatus.SERVICE_UNAVAILABLE: {"model": Health, "description": "Send requests elsewhere."}},
)
async def readiness(request: Request, response: Response, app_state: AppStateDep) -> Health:
    """503 when no registry could be served (one of PostgreSQL and Redis is enough), and while the process stops."""
    found = await app_state.health_monitor.health()
    if found.status is Status.UNHEALTHY or request.app.state.draining:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return found
