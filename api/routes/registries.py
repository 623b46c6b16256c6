"""Routes that read registries: the lists, and one registry."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Header, Path, Query, Request, Response

from api.auth.dependencies import AppStateDep, Reader
from api.problems import COMMON, documented, forbidden, not_found
from api.representation import represent
from api.schemas.requests import IsoDate
from api.schemas.responses import OwnRegistryList, RegistryAnswer, RegistryList
from api.state import AppState
from wishcraft.cache.entries import Header as EntryHeader
from wishcraft.cache.registries import CacheResult
from wishcraft.domain.addresses import normalise
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.callers import Caller
from wishcraft.domain.invitations import InvitationStatus
from wishcraft.domain.registries import MAX_SLUG_LENGTH, EventType
from wishcraft.domain.registry_payload import event_payload, summary_payload
from wishcraft.services.registries.access import is_granted
from wishcraft.store import registry_lists
from wishcraft.store.registry_lists import OwnRegistry, Search

router: Final = APIRouter(tags=["registries"])

MAX_PER_PAGE: Final = 100

Ref = Annotated[
    str,
    Path(
        max_length=MAX_SLUG_LENGTH,
        description="The registry's slug. Servers, the embedded admin and the registrant may send its id.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PER_PAGE)]
Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the previous page.")]
IfNoneMatch = Annotated[
    str | None, Header(alias="If-None-Match", description="The ETag of the caller's copy: 304 if it is current.")
]
"""For OpenAPI only: `answer_one` reads the raw header."""
GrantHeader = Annotated[
    str | None, Header(alias="X-Registry-Grant", max_length=100, description="The grant that `/unlock` returned.")
]
GrantQuery = Annotated[str | None, Query(max_length=100, description="The grant, for proxies that drop the header.")]
ONE: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK: {
        "model": RegistryAnswer,
        "description": "The registry with its items, progress and totals.",
        "headers": {
            "ETag": {"schema": {"type": "string"}, "description": "For If-None-Match and If-Match."},
            "X-Cache": {"schema": {"type": "string", "enum": ["hit", "stale", "miss", "bypass"]}},
        },
    }
}


@router.get(
    "/api/registries",
    summary="List or search public registries",
    response_model=RegistryList,
    responses=documented(*COMMON),
)
async def list_registries(
    response: Response,
    app_state: AppStateDep,
    caller: Reader,
    q: Annotated[
        str | None,
        Query(max_length=100, description="Words of the title or of a registrant's first name.", examples=["emma"]),
    ] = None,
    event_type: EventType | None = None,
    event_from: Annotated[IsoDate | None, Query(description="First event date.")] = None,
    event_to: Annotated[IsoDate | None, Query(description="Last event date.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> dict[str, object]:
    """The shop's public, active registries, newest first."""
    search = Search(q, event_type, event_from, event_to)
    async with app_state.resources.db.autocommit() as session:
        # One more than the limit: if it exists, there is a next page.
        rows = await registry_lists.list_public(
            session, caller.shop_id, limit + 1, int(cursor) if cursor else None, search
        )
    response.headers["Cache-Control"] = "private, max-age=10, stale-while-revalidate=60"
    return {
        "registries": [summary_payload(*registry) for registry in rows[:limit]],
        "next_cursor": _next_cursor(rows, limit),
    }


@router.get(
    "/api/my-registries",
    summary="List the customer's own registries",
    response_model=OwnRegistryList,
    responses=documented(*COMMON),
)
async def list_my_registries(
    response: Response, app_state: AppStateDep, caller: Reader, limit: Limit = 20, cursor: Cursor = None
) -> dict[str, object]:
    """All registries of the customer, newest first, including archived ones and the fields that guests do not see."""
    if caller.customer_id is None:
        raise forbidden("This needs a customer. Log in, or send X-Customer-Id.")
    before = int(cursor) if cursor else None
    async with app_state.resources.db.autocommit() as session:
        rows = await registry_lists.list_own(session, caller.shop_id, caller.customer_id, limit + 1, before)
    response.headers["Cache-Control"] = "private, no-store"
    return {
        "registries": [_own_payload(registry) for registry in rows[:limit]],
        "next_cursor": _next_cursor(rows, limit),
    }


@router.get(
    "/api/registries/{ref}",
    summary="Read one registry",
    response_class=Response,
    responses={
        **ONE,
        HTTPStatus.NOT_MODIFIED: {"description": "The caller's copy is current."},
        **documented(*COMMON, HTTPStatus.NOT_FOUND),
    },
)
async def get_registry(
    request: Request,
    app_state: AppStateDep,
    caller: Reader,
    ref: Ref,
    _if_none_match: IfNoneMatch = None,
    grant: GrantQuery = None,
    grant_header: GrantHeader = None,
) -> Response:
    """One registry of the shop. `X-Cache` says where it came from."""
    return await answer_one(request, app_state, caller, ref, grant=grant_header or grant)


async def answer_one(
    request: Request, app_state: AppState, caller: Caller, ref: str, *, grant: str | None = None
) -> Response:
    """The registry with this slug or id, if the caller may read it."""
    slug = await app_state.reader.find_slug(caller, ref)
    if slug is None:
        raise no_such_registry()
    entry, cache_state = await app_state.reader.read(caller.shop_id, slug)
    await authorize_read(app_state, caller, slug, entry.header, grant)
    return respond(request, app_state, caller, slug, CacheResult(entry, cache_state))


def respond(request: Request, app_state: AppState, caller: Caller, slug: str, result: CacheResult) -> Response:
    """The response to a caller who may read the registry; counts the read."""
    entry, cache_state = result
    if_none_match = request.headers.getlist("if-none-match")
    answer = represent(
        entry,
        cache_state,
        is_own=caller.owns(entry.header.owner),
        if_none_match=", ".join(if_none_match).encode("latin-1") if if_none_match else None,
    )
    app_state.traffic_recorder.count_read(caller.shop_id, slug, cache_state, len(answer.body))
    response = Response(answer.body, answer.status)
    response.raw_headers = answer.headers
    return response


async def authorize_read(
    app_state: AppState, caller: Caller, slug: str, header: EntryHeader, grant: str | None
) -> None:
    """Answer 404 or 403 if the caller may not read the registry. A private one looks as if it did not exist."""
    if caller.can_read(header.access_level, header.owner):
        return
    if header.access_level is not AccessLevel.CODE:
        raise no_such_registry()
    if grant is None or not await is_granted(app_state.resources, caller.shop_id, slug, grant):
        raise forbidden("Unlock the registry with its access code first.", "access-code-required")


def no_such_registry() -> Exception:
    """404 of a registry."""
    return not_found("The shop has no such registry.")


def _next_cursor(rows: list[Any], limit: int) -> str | None:
    return str(rows[limit - 1].id) if len(rows) > limit else None


def _own_payload(registry: OwnRegistry) -> dict[str, object]:
    registrant = {
        "first_name": registry.customer_first_name,
        "last_name": registry.customer_last_name,
        "email": registry.customer_email,
    }

    def with_status(person: Mapping[str, str]) -> dict[str, str]:
        """The person; an invitation that was deleted had expired."""
        return {**person, "status": registry.statuses.get(normalise(person["email"]) or "", InvitationStatus.EXPIRED)}

    return {
        "id": registry.id,
        "slug": registry.slug,
        "share_url": registry.share_url,
        "title": registry.title,
        "event": event_payload(registry.event_type, registry.event_date),
        "event_location": registry.event_location,
        "visibility": registry.visibility,
        "status": registry.status,
        "registrant": with_status(registrant),
        "co_registrants": [with_status(cast("dict[str, str]", each)) for each in registry.co_registrants],
    }
