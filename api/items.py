"""Adding, changing and removing the items of registries, on behalf of their registrants."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Request, Response

from api.identity import Identified, OriginHere, ServingHere
from api.problems import documented
from api.registering import CHANGED, CREATED, Condition, IdempotencyKey, Slug, answer_created, claim
from api.registries import ONE, answer_one
from api.requests import LARGEST_ID, ChangedItem, NewItem
from wishcraft.services.changing import Change
from wishcraft.services.wishing import add_item, change_item, remove_item
from wishcraft.store.wishes import Wish

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
    request: Request,
    serving: ServingHere,
    caller: Identified,
    slug: Slug,
    origin: OriginHere,
    sent: NewItem,
    if_match: Annotated[str | None, Header(alias="If-Match", description="The ETag that it must still have.")] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A variant of the shop, as Shopify describes it now: its title, price, stock and picture are read from there."""
    made = claim(idempotency_key, caller, request, sent.model_dump_json().encode())
    wish = Wish(sent.variant_id, sent.quantity, sent.priority, sent.notes)
    await add_item(serving.resources, Change(caller, slug, "item.added", if_match, origin), wish, made)
    return await answer_created(request, serving, caller, slug)


@router.patch("/{item_id}", summary="Change an item", response_class=Response, responses={**ONE, **CHANGED})
async def change(
    request: Request,
    serving: ServingHere,
    caller: Identified,
    slug: Slug,
    item_id: ItemId,
    origin: OriginHere,
    if_match: Condition,
    sent: ChangedItem,
) -> Response:
    """What is not named stays as it is."""
    values = {_COLUMNS.get(name, name): value for name, value in sent.named().items()}
    doing = Change(caller, slug, "item.changed", if_match, origin)
    await change_item(serving.resources, doing, item_id, values)
    return await answer_one(request, serving, caller, slug)


@router.delete("/{item_id}", summary="Remove an item", response_class=Response, responses={**ONE, **CHANGED})
async def remove(
    request: Request,
    serving: ServingHere,
    caller: Identified,
    slug: Slug,
    item_id: ItemId,
    origin: OriginHere,
    if_match: Condition,
) -> Response:
    """Guests no longer see it; what was bought of it stays in the books."""
    await remove_item(serving.resources, Change(caller, slug, "item.removed", if_match, origin), item_id)
    return await answer_one(request, serving, caller, slug)
