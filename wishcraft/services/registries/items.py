"""Adds, changes and removes the items of registries on behalf of their registrants."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.inventory import VariantReading
from wishcraft.domain.registries import ItemStatus
from wishcraft.errors import Conflict, Invalid, LimitReached, NotFound, ShopifyUnavailable
from wishcraft.resources import Resources
from wishcraft.services.registries.write import Change, change_registry, check_change, replay
from wishcraft.shopify.variants import describe_variant
from wishcraft.store import idempotency, registry_items, shops
from wishcraft.store.idempotency import IdempotencyKey
from wishcraft.store.registries import LockedRegistry
from wishcraft.store.registry_items import ItemValues

SHOPIFY_SECONDS: Final = 5.0
"""For how long a registrant waits for Shopify."""


async def add_item(resources: Resources, change: Change, wish: ItemValues, claim: IdempotencyKey | None) -> int:
    """Add a variant to the registry, as Shopify describes it now; the item's id. A repeated claim adds no second one.

    Raises:
        RequestRefused: As `change_registry` does; LimitReached if the registry is full; Conflict if it has the variant
            already, or the claim's key was sent with another request; Invalid if the shop sells no such variant.
        ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: Shopify gave no usable answer in time.
    """
    if claim and (made := await _made_before(resources, claim)):
        return made
    await check_change(resources, change)  # or anybody could have us spend the shop's points
    observed_at = datetime.now(UTC)
    reading, image = await _describe(resources, change.caller.shop_id, wish.variant_id)

    async def apply(session: AsyncSession, registry: LockedRegistry) -> int:
        if claim and (earlier := await idempotency.acquire_key(session, claim)):
            return int(replay(earlier))
        item_id = await _place(session, registry, wish, reading, image, observed_at, change.caller.shop_id)
        if claim:
            await idempotency.complete(session, claim, str(item_id))
        return item_id

    return await change_registry(resources, change, apply)


async def change_item(resources: Resources, change: Change, item_id: int, values: dict[str, Any]) -> None:
    """Write these columns of the item.

    Raises:
        RequestRefused: As `change_registry` does; NotFound if the registry has no such item.
    """

    async def apply(session: AsyncSession, registry: LockedRegistry) -> None:
        if not await registry_items.change(session, change.caller.shop_id, registry.id, item_id, values):
            raise _no_such_item()

    await change_registry(resources, change, apply)


async def remove_item(resources: Resources, change: Change, item_id: int) -> None:
    """Take the item away; what was bought of it stays in the books.

    Raises:
        RequestRefused: As `change_registry` does; NotFound if the registry has no such item.
    """

    async def apply(session: AsyncSession, registry: LockedRegistry) -> None:
        if not await registry_items.remove(session, change.caller.shop_id, registry.id, item_id):
            raise _no_such_item()

    await change_registry(resources, change, apply)


async def _made_before(resources: Resources, claim: IdempotencyKey) -> int | None:
    """The item that an earlier request made: Shopify need not be asked again, nor the registry be as it was then."""
    async with resources.db.autocommit() as session:
        earlier = await idempotency.find_result(session, claim)
    return int(replay(earlier)) if earlier else None


async def _describe(resources: Resources, shop_id: int, variant_id: int) -> tuple[VariantReading, str | None]:
    async with resources.db.autocommit() as session:
        domain = await shops.find_domain(session, shop_id)
    try:
        async with asyncio.timeout(SHOPIFY_SECONDS):
            described = await describe_variant(resources.shopify, domain, variant_id)
    except TimeoutError:
        raise ShopifyUnavailable(f"{domain}: Shopify did not answer in time") from None
    if described is None or not described[0].product_active:
        raise Invalid("The shop sells no such variant.")
    return described


async def _place(
    session: AsyncSession,
    registry: LockedRegistry,
    wish: ItemValues,
    reading: VariantReading,
    image: str | None,
    observed_at: datetime,
    shop_id: int,
) -> int:
    places = await registry_items.find_places(session, shop_id, registry.id, wish.variant_id)
    if places.same_id and places.same_status is not ItemStatus.HIDDEN:
        raise Conflict(f"The registry has this variant already: change item {places.same_id} instead.")
    most = registry.settings.max_items_per_registry
    if places.shown >= most:
        raise LimitReached(f"A registry of this shop may have {most} items.")
    if places.same_id:
        await registry_items.bring_back(session, shop_id, places.same_id, wish, reading, image, observed_at)
        return places.same_id
    place, currency = places.last + 1, registry.currency
    return await registry_items.add(
        session, shop_id, registry.id, wish, reading, image, currency=currency, place=place, observed_at=observed_at
    )


def _no_such_item() -> NotFound:
    return NotFound("The registry has no such item.")
