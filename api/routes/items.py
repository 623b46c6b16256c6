"""Adding, changing and removing the items of registries, on behalf of their registrants."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Response

from api.problems import documented
from api.routes.registries import ONE
from api.routes.registry_changes import (
    CHANGED,
    CREATED,
    Condition,
    IdempotencyKeyHeader,
    RegistryRequestDep,
    answer_created,
    claim,
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
    asked: RegistryRequestDep,
    sent: NewItem,
    if_match: Annotated[str | None, Header(alias="If-Match", description="The ETag that it must still have.")] = None,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Response:
    """A variant of the shop, as Shopify describes it now: its title, price, stock and picture are read from there."""
    made = claim(idempotency_key, asked.caller, asked.request, sent.model_dump_json().encode())
    new = registry_items.NewItem(sent.variant_id, sent.quantity, sent.priority, sent.notes)
    await add_item(asked.serving.resources, asked.to("item.added", if_match), new, made)
    return await answer_created(asked.request, asked.serving, asked.caller, asked.slug)


@router.patch("/{item_id}", summary="Change an item", response_class=Response, responses={**ONE, **CHANGED})
async def change(asked: RegistryRequestDep, item_id: ItemId, if_match: Condition, sent: ChangedItem) -> Response:
    """What is not named stays as it is."""
    values = {_COLUMNS.get(name, name): value for name, value in sent.named().items()}
    await change_item(asked.serving.resources, asked.to("item.changed", if_match), item_id, values)
    return await asked.answer()


@router.delete("/{item_id}", summary="Remove an item", response_class=Response, responses={**ONE, **CHANGED})
async def remove(asked: RegistryRequestDep, item_id: ItemId, if_match: Condition) -> Response:
    """Guests no longer see it; what was bought of it stays in the books."""
    await remove_item(asked.serving.resources, asked.to("item.removed", if_match), item_id)
    return await asked.answer()
