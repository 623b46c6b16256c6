"""Health probes: liveness, readiness, and the state of each part."""

import json
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from api.auth.dependencies import AppStateDep
from wishcraft.services.health.monitor import Health, Status


class IndentedJSONResponse(JSONResponse):
    """JSON with a line for each value: people read it in a browser and a terminal."""

    def render(self, content: Any) -> bytes:
        """The body, with a line break at its end."""
        return f"{json.dumps(content, ensure_ascii=False, indent=2)}\n".encode()


router: Final = APIRouter(prefix="/health", tags=["health"])


@router.get(
    "",
    summary="Get the health of every part",
    response_class=IndentedJSONResponse,
    response_description="The state of every part.",
)
async def health(app_state: AppStateDep) -> Health:
    """The state of every part, at most a second old. Always 200: load balancers use the readiness probe."""
    return await app_state.health_monitor.health()


@router.get("/liveness", summary="Liveness probe", response_description="The process answers.")
async def liveness() -> dict[str, str]:
    """Checks the process only: a restart does not help if a store is unavailable."""
    return {"status": "alive"}


@router.get(
    "/readiness",
    summary="Readiness probe",
    response_class=IndentedJSONResponse,
    response_description="The process can serve requests.",
    responses={
        HTTPStatus.SERVICE_UNAVAILABLE: {"model": Health, "description": "Do not send requests to this process."}
    },
)
async def readiness(response: Response, app_state: AppStateDep) -> Health:
    """503 if neither PostgreSQL nor Redis is available, if a setting is wrong, or during shutdown."""
    health = await app_state.health_monitor.health()
    if health.status is Status.UNHEALTHY or app_state.draining:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return health
