"""Routes that add, change and remove items, on behalf of registrants."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Response

from api.problems import documented
from api.routes.registries import ONE
from api.routes.registry_changes import (
    CHANGED,
    CREATED,
    IdempotencyKeyHeader,
    IfMatch,
    RegistryRequestDep,
    answer_created,
    make_key,
)
from api.schemas.requests import LARGEST_ID, ChangedItem, NewItem
from wishcraft.services.registries.items import add_item, change_item, remove_item
from wishcraft.store import registry_items

router: Final = APIRouter(prefix="/api/registries/{ref}/items", tags=["items"])

_COLUMNS: Final = {"quantity": "quantity_wanted"}
ItemId = Annotated[int, Path(ge=1, le=LARGEST_ID)]


@router.post(
    "",
    summary="Add an item",
    status_code=HTTPStatus.CREATED,
    response_class=Response,
    responses=CREATED | documented(HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED),
)
async def add(
    registry_request: RegistryRequestDep,
    body: NewItem,
    if_match: Annotated[
        str | None, Header(alias="If-Match", description="The ETag that the registry must have; optional.")
    ] = None,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """Adds a variant of the shop. Title, price, stock and image are read from Shopify."""
    key = make_key(idempotency_key, registry_request.caller, registry_request.request, body.model_dump_json().encode())
    item = registry_items.NewItem(body.variant_id, body.quantity, body.priority, body.notes)
    await add_item(registry_request.app_state.resources, registry_request.as_change("item.added", if_match), item, key)
    return await answer_created(
        registry_request.request, registry_request.app_state, registry_request.caller, registry_request.slug
    )


@router.patch("/{item_id}", summary="Change an item", response_class=Response, responses={**ONE, **CHANGED})
async def change(
    registry_request: RegistryRequestDep, item_id: ItemId, if_match: IfMatch, body: ChangedItem
) -> Response:
    """Fields that are left out keep their values."""
    values = {_COLUMNS.get(name, name): value for name, value in body.model_dump(exclude_unset=True).items()}
    await change_item(
        registry_request.app_state.resources, registry_request.as_change("item.changed", if_match), item_id, values
    )
    return await registry_request.answer()


@router.delete("/{item_id}", summary="Remove an item", response_class=Response, responses={**ONE, **CHANGED})
async def remove(registry_request: RegistryRequestDep, item_id: ItemId, if_match: IfMatch) -> Response:
    """Guests no longer see the item. Its purchases stay recorded."""
    await remove_item(
        registry_request.app_state.resources, registry_request.as_change("item.removed", if_match), item_id
    )
    return await registry_request.answer()
