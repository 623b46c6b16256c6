"""The route that filters and sorts the items of a registry."""

from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response

from api.auth.dependencies import MAY_NAME_CUSTOMER, AppStateDep, Reader
from api.known_parameters import KnownParameters
from api.routes.registries import (
    NOT_MODIFIED,
    READ_PROBLEMS,
    GrantHeader,
    GrantQuery,
    IfNoneMatch,
    Ref,
    read_authorized,
    respond,
)
from api.schemas.headers import ETAG, X_CACHE
from api.schemas.responses import ItemList
from wishcraft.cache.entries import Entry, with_body
from wishcraft.cache.registries import CacheResult
from wishcraft.domain.item_selection import ItemSelection, ItemSort
from wishcraft.domain.registries import Priority
from wishcraft.domain.text_forms import PRICE
from wishcraft.errors import invalid_parameter

router: Final = APIRouter(tags=["items"])

_LISTED: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.OK: {
        "model": ItemList,
        "description": "The items that match.",
        "headers": {"ETag": ETAG, "X-Cache": X_CACHE},
    }
}


async def read_selection(
    available: Annotated[
        bool | None, Query(description="Whether the variant can be bought now.", examples=[True])
    ] = None,
    given: Annotated[
        bool | None,
        Query(description="`false`: items of which pieces are still wanted. `true`: the others.", examples=[False]),
    ] = None,
    price_min: Annotated[
        str | None, Query(pattern=PRICE, examples=["12.50"], description="Lowest price, in the registry's currency.")
    ] = None,
    price_max: Annotated[
        str | None, Query(pattern=PRICE, examples=["80.00"], description="Highest price, in the registry's currency.")
    ] = None,
    priority: Annotated[Priority | None, Query(description="Only this priority.", examples=["high"])] = None,
    sort: Annotated[
        ItemSort,
        Query(
            description="`price`: the lowest first; `-price`: the highest. `priority`: the highest first.",
            examples=["price"],
        ),
    ] = ItemSort.DISPLAY_ORDER,
) -> ItemSelection:
    """The filters and the order in the query."""
    lowest, highest = _decimal(price_min), _decimal(price_max)
    if lowest is not None and highest is not None and lowest > highest:
        raise invalid_parameter("price_min", "is higher than price_max, so that no item can match.")
    return ItemSelection(available, given, lowest, highest, priority, sort)


def _decimal(price: str | None) -> Decimal | None:
    return None if price is None else Decimal(price)


@router.get(
    "/api/registries/{ref}/items",
    summary="List, filter and sort the items of a registry",
    response_class=Response,
    responses={**_LISTED, **NOT_MODIFIED, **READ_PROBLEMS},
    openapi_extra=MAY_NAME_CUSTOMER,
)
async def list_items(
    request: Request,
    app_state: AppStateDep,
    caller: Reader,
    ref: Ref,
    selection: Annotated[ItemSelection, Depends(read_selection)],
    _if_none_match: IfNoneMatch = None,
    grant: GrantQuery = None,
    grant_header: GrantHeader = None,
    _known: KnownParameters = None,
) -> Response:
    """The items that a read of the registry has, filtered and sorted; items that are equal are in display order."""
    slug, (entry, cache_state) = await read_authorized(app_state, caller, ref, grant_header or grant)
    return respond(request, app_state, caller, slug, CacheResult(_select(entry, selection), cache_state))


def _select(entry: Entry, selection: ItemSelection) -> Entry:
    """An entry of the selected items alone, with the version and the access level of the registry's entry."""
    registry = orjson.loads(entry.body)
    body = orjson.dumps({"currency": registry["currency"], "items": selection.apply(registry["items"])})
    return with_body(entry, body, entry.header.version)
