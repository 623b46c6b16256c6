"""What guests do besides reading: unlocking a registry, and telling what they did."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response

from api.auth.dependencies import AppStateDep, Reader
from api.problems import ALWAYS, documented, unavailable
from api.routes.registries import Ref
from api.routes.registry_changes import Slug
from api.schemas.requests import GuestEvents, Unlocking
from api.schemas.responses import Accepted, GrantAnswer
from wishcraft.domain.guest_events import AnalyticsType
from wishcraft.domain.registries import could_name_registry
from wishcraft.services.registries.access import unlock
from wishcraft.store.analytics_events import Event

router: Final = APIRouter(prefix="/api/registries/{ref}", tags=["guests"])


@router.post(
    "/unlock",
    summary="Unlock a password-protected registry",
    response_model=GrantAnswer,
    responses=documented(*ALWAYS, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def unlock_registry(
    response: Response, app_state: AppStateDep, caller: Reader, slug: Slug, sent: Unlocking
) -> GrantAnswer:
    """Gives a grant that opens the registry for a day. Who guesses is slowed down: 429 with `Retry-After`."""
    grant = await unlock(app_state.resources, caller, slug, sent.access_code)
    response.headers["Cache-Control"] = "no-store"
    return GrantAnswer(grant=grant.token, expires_at=grant.expires_at)


@router.post(
    "/events",
    summary="Tell what a guest did",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Accepted,
    responses=documented(*ALWAYS, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
)
async def record_events(app_state: AppStateDep, caller: Reader, ref: Ref, sent: GuestEvents) -> Accepted:
    """Written down behind the answer. What is told of a registry or an item that does not exist is dropped then."""
    if not could_name_registry(ref):
        return Accepted(accepted=0)
    now = datetime.now(UTC)
    events = [
        Event(caller.shop_id, ref, AnalyticsType(each.type), now, sent.visitor_id, each.item_id) for each in sent.events
    ]
    if not app_state.traffic_recorder.add_events(events):
        raise unavailable("Too many events are waiting to be written down; try again soon.")
    return Accepted(accepted=len(events))
