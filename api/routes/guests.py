"""Routes of guests: unlock a registry, and record analytics events."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Body

from api.auth.dependencies import MAY_NAME_CUSTOMER, AuthenticatedRoute, Senders, over_limit
from api.problems import COMMON, WITH_BODY, documented, unavailable
from api.routes.registries import READ_PROBLEMS, GrantHeader, GrantQuery, authorize_read
from api.routes.registry_changes import RegistryRequestDep
from api.schemas.examples import GUEST_EVENTS
from api.schemas.requests import GuestEvents, Unlocking
from api.schemas.responses import Accepted, GrantAnswer
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.services.registries.access import unlock
from wishcraft.store.analytics_events import Event

router: Final = APIRouter(prefix="/api/registries/{ref}", tags=["guests"], route_class=AuthenticatedRoute)


@router.post(
    "/unlock",
    summary="Unlock a password-protected registry",
    response_description="The grant.",
    response_model=GrantAnswer,
    responses=documented(*COMMON, "wrong-access-code", "not-found", "conflict", "too-many-tries", *WITH_BODY),
)
async def unlock_registry(registry_request: RegistryRequestDep, senders: Senders, body: Unlocking) -> GrantAnswer:
    """Returns a grant that opens the registry for a day. Too many tries are answered 429 with `Retry-After`."""
    _, app_state, caller, slug = registry_request
    grant = await unlock(app_state.resources, caller, senders, slug, body.access_code)
    return GrantAnswer(grant=grant.token, expires_at=grant.expires_at)


@router.post(
    "/events",
    summary="Record what a guest did",
    status_code=HTTPStatus.ACCEPTED,
    response_description="The events are accepted.",
    response_model=Accepted,
    responses=READ_PROBLEMS | documented(*WITH_BODY),
    openapi_extra=MAY_NAME_CUSTOMER,
)
async def record_events(
    registry_request: RegistryRequestDep,
    body: Annotated[GuestEvents, Body(openapi_examples=GUEST_EVENTS)],
    grant: GrantQuery = None,
    grant_header: GrantHeader = None,
) -> Accepted:
    """Of a registry that the caller may read. `accepted` says how many will be stored, within about a second: all but
    those about an item that the registry does not have, whose ids `unknown_item_ids` has.
    """
    _, app_state, caller, slug = registry_request
    entry, _ = await app_state.reader.read(caller.shop_id, slug)
    await authorize_read(app_state, caller, slug, entry.header, grant_header or grant)
    named = {event.item_id for event in body.events if event.item_id is not None}
    unknown = named and named - {item["id"] for item in orjson.loads(entry.body)["items"]}
    if not caller.is_server:
        verdict = app_state.resources.limiter.take(app_state.events_policy, caller.name, len(body.events))
        if not verdict.allowed:
            raise over_limit(verdict.reset)
    now = datetime.now(UTC)
    events = [
        Event(caller.shop_id, slug, AnalyticsType(event.type), now, body.visitor_id, event.item_id)
        for event in body.events
        if event.item_id not in unknown
    ]
    if not app_state.traffic_recorder.add_events(events):
        raise unavailable("Too many events are waiting to be stored. Try again later.")
    return Accepted(accepted=len(events), unknown_item_ids=sorted(unknown))
