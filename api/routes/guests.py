"""Routes of guests: unlock a registry, and record analytics events."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response

from api.auth.dependencies import AppStateDep, Reader
from api.problems import COMMON, documented, unavailable
from api.routes.registries import Ref
from api.routes.registry_changes import Slug
from api.schemas.requests import GuestEvents, Unlocking
from api.schemas.responses import Accepted, GrantAnswer
from wishcraft.domain.guest_events import AnalyticsType
from wishcraft.domain.registries import is_registry_ref
from wishcraft.services.registries.access import unlock
from wishcraft.store.analytics_events import Event

router: Final = APIRouter(prefix="/api/registries/{ref}", tags=["guests"])


@router.post(
    "/unlock",
    summary="Unlock a password-protected registry",
    response_model=GrantAnswer,
    responses=documented(*COMMON, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def unlock_registry(
    response: Response, app_state: AppStateDep, caller: Reader, slug: Slug, body: Unlocking
) -> GrantAnswer:
    """Returns a grant that opens the registry for a day. Too many tries are answered 429 with `Retry-After`."""
    grant = await unlock(app_state.resources, caller, slug, body.access_code)
    response.headers["Cache-Control"] = "no-store"
    return GrantAnswer(grant=grant.token, expires_at=grant.expires_at)


@router.post(
    "/events",
    summary="Record what a guest did",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Accepted,
    responses=documented(*COMMON, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def record_events(app_state: AppStateDep, caller: Reader, ref: Ref, body: GuestEvents) -> Accepted:
    """Events are stored after the response. Those of a registry or an item that does not exist are dropped."""
    if not is_registry_ref(ref):
        return Accepted(accepted=0)
    now = datetime.now(UTC)
    events = [
        Event(caller.shop_id, ref, AnalyticsType(event.type), now, body.visitor_id, event.item_id)
        for event in body.events
    ]
    if not app_state.traffic_recorder.add_events(events):
        raise unavailable("Too many events are waiting to be stored. Try again later.")
    return Accepted(accepted=len(events))
