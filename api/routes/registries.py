"""Routes that read registries: the lists, and one registry."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AfterValidator

from api import representation
from api.auth.dependencies import MAY_NAME_CUSTOMER, NAMES_CUSTOMER, AppStateDep, Reader
from api.known_parameters import KnownParameters
from api.middleware.request import FAILED
from api.problems import COMMON, documented, forbidden, no_such_registry
from api.schemas.demo import DEMO_REF
from api.schemas.headers import ETAG, X_CACHE
from api.schemas.requests import IsoDate, storable_text
from api.schemas.responses import CURSOR, GRANT, OwnRegistryAnswer, OwnRegistryList, RegistryAnswer, RegistryList
from api.state import AppState
from wishcraft.cache.entries import Header as EntryHeader
from wishcraft.cache.registries import CacheResult
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.callers import Caller
from wishcraft.domain.etags import make_etag, matches
from wishcraft.domain.private_fields import private_fields_payload
from wishcraft.domain.registries import MAX_SLUG_LENGTH, EventType, RegistryStatus
from wishcraft.domain.registry_lists import MAX_CURSOR_LENGTH, ListSort, Position, decode_cursor, encode_cursor
from wishcraft.domain.registry_payload import page_payload, summary_payload
from wishcraft.domain.text_forms import LIST_CURSOR
from wishcraft.errors import DatabaseUnavailable, invalid_parameter
from wishcraft.services.registries.access import is_granted
from wishcraft.services.registries.own_view import add_private_fields
from wishcraft.store import registry_lists
from wishcraft.store.registry_lists import OwnRegistry, PageRequest, Search

router: Final = APIRouter(tags=["registries"])

MAX_PER_PAGE: Final = 100

Ref = Annotated[
    str,
    Path(
        max_length=MAX_SLUG_LENGTH,
        examples=[DEMO_REF],
        description="The registry's slug. Servers, the embedded admin and the registrant may send its id.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=MAX_PER_PAGE, examples=[20], description="The most entries of the page.")]
Sort = Annotated[
    ListSort,
    Query(
        examples=["event_date"],
        description="`event_date`: the earliest first, those without a date last. `name`: by title, A to Z.",
    ),
]
Cursor = Annotated[
    str | None,
    Query(
        pattern=LIST_CURSOR,
        max_length=MAX_CURSOR_LENGTH,
        examples=[CURSOR],
        description="`next_cursor` of the previous page, with the same sort and filters.",
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(
        alias="If-None-Match", examples=[ETAG["example"]], description="The ETag of the caller's copy: 304 if current."
    ),
]
"""For OpenAPI only: `answer_one` reads the raw header."""
GrantHeader = Annotated[
    str | None,
    Header(
        alias="X-Registry-Grant",
        max_length=100,
        examples=[GRANT],
        description="The grant that `/unlock` returned, for a registry with an access code.",
    ),
]
GrantQuery = Annotated[
    str | None,
    Query(max_length=100, examples=[GRANT], description="The grant, for proxies that drop the header."),
]
ONE: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK: {
        "model": RegistryAnswer | OwnRegistryAnswer,
        "description": "The registry with its items, progress and totals. Its registrant gets more fields than guests.",
        "headers": {"ETag": ETAG, "X-Cache": X_CACHE},
    }
}
NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.NOT_MODIFIED: {"description": "The caller's copy is current.", "headers": {"ETag": ETAG}}
}
READ_PROBLEMS: Final = documented(*COMMON, "access-code-required", "not-found")
"""Of an operation that reads one registry."""


@router.get(
    "/api/registries",
    summary="List or search public registries",
    response_description="A page of the registries that match.",
    response_class=Response,
    responses={HTTPStatus.OK: {"model": RegistryList}, **documented(*COMMON)},
)
async def list_registries(
    app_state: AppStateDep,
    caller: Reader,
    q: Annotated[
        Annotated[str, AfterValidator(storable_text)] | None,
        Query(max_length=100, description="Words of the title or of a registrant's first name.", examples=["emma"]),
    ] = None,
    event_type: Annotated[
        EventType | None, Query(description="Only events of this type.", examples=["wedding"])
    ] = None,
    event_from: Annotated[IsoDate | None, Query(description="First event date.", examples=["2027-01-01"])] = None,
    event_to: Annotated[IsoDate | None, Query(description="Last event date.", examples=["2027-12-31"])] = None,
    sort: Sort = ListSort.NEWEST,
    limit: Limit = 20,
    cursor: Cursor = None,
    _known: KnownParameters = None,
) -> Response:
    """The shop's public, active registries. Guests may see them as they were a few seconds ago."""
    if event_from and event_to and event_from > event_to:
        raise invalid_parameter("event_from", "is after event_to, so that no registry can match.")
    search = Search(q, event_type, event_from, event_to)
    page = PageRequest(limit, sort, _position(sort, search, cursor))
    body = await app_state.public_lists.read(caller, page, search)
    return Response(body, headers={"Cache-Control": "private, no-cache"}, media_type="application/json")


@router.get(
    "/api/my-registries",
    summary="List the customer's own registries",
    response_description="A page of the customer's registries.",
    openapi_extra=NAMES_CUSTOMER,
    response_model=OwnRegistryList,
    responses=documented(*COMMON),
)
async def list_my_registries(
    response: Response,
    app_state: AppStateDep,
    caller: Reader,
    status: Annotated[
        list[RegistryStatus] | None,
        Query(
            description="Only of this status; may be repeated: `status=active&status=paused`.", examples=[["active"]]
        ),
    ] = None,
    sort: Sort = ListSort.NEWEST,
    limit: Limit = 20,
    cursor: Cursor = None,
    _known: KnownParameters = None,
) -> dict[str, object]:
    """The registries of the customer, also archived ones unless filtered, with the fields that guests do not see."""
    if caller.customer_id is None:
        raise forbidden("This needs a customer. Log in, or send X-Customer-Id.")
    statuses = sorted(set(status or ()))
    filters = ("own", *statuses) if statuses else ("own", None)
    page = PageRequest(limit, sort, _position(sort, filters, cursor))
    resources = app_state.resources
    found = await registry_lists.list_own(
        resources.db, caller.shop_id, caller.customer_id, page, resources.shopify_origin, statuses
    )
    response.headers["Cache-Control"] = "private, no-store"
    next_cursor = encode_cursor(sort, filters, found.end) if found.end else None
    return page_payload([_own_payload(registry) for registry in found.registries], found.total, next_cursor)


@router.get(
    "/api/registries/{ref}",
    summary="Read one registry",
    response_class=Response,
    responses={**ONE, **NOT_MODIFIED, **READ_PROBLEMS},
    openapi_extra=MAY_NAME_CUSTOMER,
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
    failure: DatabaseUnavailable | None = request.scope.get(FAILED)
    if failure:
        raise failure
    return await answer_one(request, app_state, caller, ref, grant=grant_header or grant)


async def answer_one(
    request: Request, app_state: AppState, caller: Caller, ref: str, *, grant: str | None = None
) -> Response:
    """The registry with this slug or id, if the caller may read it."""
    slug, result = await read_authorized(app_state, caller, ref, grant)
    if caller.owns(result.entry.header.owner):
        result = result._replace(entry=await add_private_fields(app_state.resources, caller, slug, result.entry))
    return respond(request, app_state, caller, slug, result)


async def read_authorized(app_state: AppState, caller: Caller, ref: str, grant: str | None) -> tuple[str, CacheResult]:
    """The slug of the registry with this slug or id, and its entry as guests see it; 404 or 403 as for a guest."""
    slug = await app_state.reader.find_slug(caller, ref)
    if slug is None:
        raise no_such_registry()
    result = await app_state.reader.read(caller.shop_id, slug)
    await authorize_read(app_state, caller, slug, result.entry.header, grant)
    return slug, result


def respond(request: Request, app_state: AppState, caller: Caller, slug: str, result: CacheResult) -> Response:
    """200 with the registry, or 304 if the caller, who may read it, has it and changes nothing; counts the read."""
    entry, cache_state = result
    etag = make_etag(entry.header.version, entry.header.digest)
    caching = representation.TO_CHANGE if caller.owns(entry.header.owner) else representation.NO_CACHE
    headers = [(b"etag", etag.encode()), caching, representation.X_CACHE[cache_state]]
    if_none_match = request.headers.getlist("if-none-match")
    if request.method == "GET" and if_none_match and matches(", ".join(if_none_match), etag):
        status, body = HTTPStatus.NOT_MODIFIED, b""
    else:
        status, body = HTTPStatus.OK, entry.body
        headers = [(b"content-length", b"%d" % len(body)), representation.JSON, *headers]
    app_state.traffic_recorder.count_read(caller.shop_id, slug, cache_state, len(body))
    response = Response(body, status)
    response.raw_headers = headers
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


def _position(sort: ListSort, filters: Sequence[object], cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    position = decode_cursor(sort, filters, cursor)
    if position is None:
        detail = "is not one of this list. Send `next_cursor` with the sort and filters of its page."
        raise invalid_parameter("cursor", detail)
    return position


def _own_payload(registry: OwnRegistry) -> dict[str, object]:
    shown = {"visibility": registry.visibility, "status": registry.status}
    return summary_payload(registry.summary) | shown | private_fields_payload(registry.private)
