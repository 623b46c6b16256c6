"""The storefront's requests about registries."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Request, Response

from api.callers import Caller, Identified
from api.problems import ProblemError, documented, not_found
from api.schemas import RegistryAnswer, RegistryList
from wishcraft.cache.entries import Header as EntryHeader
from wishcraft.domain.answers import summary_answer
from wishcraft.domain.documents import Gate
from wishcraft.domain.registries import SLUG
from wishcraft.resources import Resources
from wishcraft.services.serving import read_registry
from wishcraft.store import registries

router: Final = APIRouter(prefix="/api/registries", tags=["registries"])

MOST_PER_PAGE: Final = 100


@router.get(
    "",
    summary="List public registries",
    response_model=RegistryList,
    responses=documented(HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def list_registries(
    request: Request,
    caller: Identified,
    limit: Annotated[int, Query(ge=1, le=MOST_PER_PAGE)] = 20,
    cursor: Annotated[
        str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next_cursor` of the page before.")
    ] = None,
) -> dict[str, object]:
    """The shop's public, active registries, the newest first."""
    resources: Resources = request.app.state.resources
    async with resources.db.snapshot() as session:
        # One more than is shown tells whether there is a next page.
        found = await registries.list_public(session, caller.shop_id, limit + 1, int(cursor) if cursor else None)
    shown = found[:limit]
    return {
        "registries": [summary_answer(each.slug, each.title, each.event_type, each.event_date) for each in shown],
        "next_cursor": str(shown[-1].id) if len(found) > limit else None,
    }


@router.get(
    "/{slug}",
    summary="Read one registry",
    response_class=Response,
    responses={
        HTTPStatus.OK: {"model": RegistryAnswer, "description": "The registry with its items, progress and totals."},
        HTTPStatus.NOT_MODIFIED: {"description": "It is as it was at the ETag in If-None-Match."},
        **documented(
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def get_registry(
    request: Request,
    caller: Identified,
    slug: Annotated[str, Path(max_length=200)],
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """One registry of the shop. `X-Cache` tells where it came from: `hit`, `stale`, `miss` or `bypass`."""
    if not SLUG.fullmatch(slug):
        raise _no_such_registry()
    entry, state = await read_registry(request.app.state.resources, caller.shop_id, slug)
    if entry is None:
        raise _no_such_registry()
    _admit(caller, entry.header)
    # Each reader's browser may keep it, but asks before each use: a purchase must show at once.
    headers = {"ETag": f'"{entry.header.etag}"', "Cache-Control": "private, no-cache", "X-Cache": state}
    if if_none_match and entry.header.etag in if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(entry.body, headers=headers, media_type="application/json")


def _admit(caller: Caller, header: EntryHeader) -> None:
    """Let the caller pass the registry's gate, or raise: what is private looks as if it were not there."""
    if header.gate is Gate.OPEN or (header.owner and caller.customer_id == header.owner):
        return
    if header.gate is Gate.CODE:
        raise ProblemError(HTTPStatus.FORBIDDEN, "access-code-required", "The registry opens with its access code.")
    raise _no_such_registry()


def _no_such_registry() -> ProblemError:
    return not_found("The shop has no such registry.")
