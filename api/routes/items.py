"""Routes that add, change and remove items, on behalf of registrants."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Body, Header, Path, Response

from api.auth.dependencies import NAMES_CUSTOMER, AuthenticatedRoute
from api.problems import documented
from api.routes.registries import ONE
from api.routes.registry_changes import CHANGED, CREATED, IdempotencyKeyHeader, IfMatch, RegistryRequestDep, make_key
from api.schemas.demo import DEMO_ITEM
from api.schemas.examples import CHANGED_ITEMS, NEW_ITEMS
from api.schemas.requests import ChangedItem, NewItem
from wishcraft.domain.ids import LARGEST_ID
from wishcraft.services.registries.items import add_item, change_item, remove_item
from wishcraft.store import registry_items

router: Final = APIRouter(prefix="/api/registries/{ref}/items", tags=["items"], route_class=AuthenticatedRoute)

_COLUMNS: Final = {"wanted": "quantity_wanted", "quantity": "quantity_wanted"}
ItemId = Annotated[int, Path(ge=1, le=LARGEST_ID, examples=[DEMO_ITEM], description="The item's id.")]


@router.post(
    "",
    summary="Add an item",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=CREATED | documented("not-found", "changed-since"),
    openapi_extra=NAMES_CUSTOMER,
)
async def add(
    registry_request: RegistryRequestDep,
    body: Annotated[NewItem, Body(openapi_examples=NEW_ITEMS)],
    _if_match: Annotated[
        str | None,
        Header(alias="If-Match", examples=["*"], description="The ETag that the registry must have; optional."),
    ] = None,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Adds a variant of the shop. Title, price, stock and image are Shopify's of at most half an hour ago.

    They are older only while Shopify does not answer; the inventory sync then corrects them.
    """
    key = make_key(idempotency_key, registry_request.caller, registry_request.request, body.model_dump_json())
    item = registry_items.NewItem(body.variant_id, body.quantity, body.priority, body.notes)
    lines = registry_request.request.headers.getlist("if-match")
    item_change = registry_request.as_change("item.added", ", ".join(lines) if lines else None)
    app_state = registry_request.app_state
    return await registry_request.answer_created(
        await add_item(app_state.resources, app_state.variants, item_change, item, key)
    )


@router.patch(
    "/{item_id}",
    summary="Change an item",
    response_class=Response,
    responses={**ONE, **CHANGED},
    openapi_extra=NAMES_CUSTOMER,
)
async def change(
    registry_request: RegistryRequestDep,
    item_id: ItemId,
    if_match: IfMatch,
    body: Annotated[ChangedItem, Body(openapi_examples=CHANGED_ITEMS)],
) -> Response:
    """Fields that are left out keep their values; if none has a new one, the ETag stays."""
    values = {_COLUMNS.get(name, name): value for name, value in body.model_dump(exclude_unset=True).items()}
    item_change = registry_request.as_change("item.changed", if_match)
    return await registry_request.answer(
        await change_item(registry_request.app_state.resources, item_change, item_id, values)
    )


@router.delete(
    "/{item_id}",
    summary="Remove an item",
    response_class=Response,
    responses={**ONE, **CHANGED},
    openapi_extra=NAMES_CUSTOMER,
)
async def remove(registry_request: RegistryRequestDep, item_id: ItemId, if_match: IfMatch) -> Response:
    """Guests no longer see the item. Its purchases stay recorded."""
    item_change = registry_request.as_change("item.removed", if_match)
    return await registry_request.answer(await remove_item(registry_request.app_state.resources, item_change, item_id))
