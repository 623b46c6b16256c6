"""What registrants write: the items that they wish for, each scoped to one shop and one registry."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.inventory import VariantReading, is_available, item_status
from wishcraft.domain.registries import ItemStatus, Priority
from wishcraft.store.schema import Purchase, RegistryItem


class Wish(NamedTuple):
    """What is wished for, and how much."""

    variant_id: int
    quantity: int
    priority: Priority
    notes: str


class Places(NamedTuple):
    """How full a registry is: items shown, the last place among them, and what is there of one variant already."""

    shown: int
    last: int
    same_id: int | None
    same_status: ItemStatus | None


async def find_places(session: AsyncSession, shop_id: int, registry_id: int, variant_id: int) -> Places:
    """What must be known before the variant is added to the registry."""
    where = (RegistryItem.shop_id == shop_id, RegistryItem.registry_id == registry_id)
    shown = func.count().filter(RegistryItem.status != ItemStatus.HIDDEN)
    count = (
        await session.execute(select(shown, func.coalesce(func.max(RegistryItem.display_order), -1)).where(*where))
    ).one()
    same = select(RegistryItem.id, RegistryItem.status).where(*where, RegistryItem.variant_id == variant_id)
    there = (await session.execute(same)).one_or_none()
    return Places(*count, *(there or (None, None)))


async def add(
    session: AsyncSession,
    shop_id: int,
    registry_id: int,
    wish: Wish,
    reading: VariantReading,
    image: str | None,
    *,
    currency: str,
    place: int,
    observed_at: datetime,
) -> int:
    """Insert the wish as Shopify described its variant; the item's id."""
    values = {
        "shop_id": shop_id,
        "registry_id": registry_id,
        "quantity_wanted": wish.quantity,
        "priority": wish.priority,
        "notes": wish.notes,
        "currency": currency,
        "display_order": place,
        "image": image,
        **_as_read(reading, observed_at),
    }
    statement = insert(RegistryItem).values(values).returning(RegistryItem.id)
    return int((await session.execute(statement)).scalar_one())


async def bring_back(
    session: AsyncSession,
    shop_id: int,
    item_id: int,
    wish: Wish,
    reading: VariantReading,
    image: str | None,
    observed_at: datetime,
) -> None:
    """Show again an item that was hidden, as it is wished for now."""
    wished = {"quantity_wanted": wish.quantity, "priority": wish.priority, "notes": wish.notes, "image": image}
    where = (RegistryItem.shop_id == shop_id, RegistryItem.id == item_id)
    await session.execute(update(RegistryItem).where(*where).values(wished | _as_read(reading, observed_at)))


async def change(
    session: AsyncSession, shop_id: int, registry_id: int, item_id: int, values: Mapping[str, Any]
) -> bool:
    """Write these columns of an item that is shown; False if there is none."""
    statement = update(RegistryItem).where(*_one(shop_id, registry_id, item_id)).values(**values)
    return bool((await session.execute(statement.returning(RegistryItem.id))).all())


async def remove(session: AsyncSession, shop_id: int, registry_id: int, item_id: int) -> bool:
    """Take an item away; one that something was bought of is hidden, and its purchases stay. False if there is none."""
    bought = exists().where(Purchase.item_id == item_id, Purchase.shop_id == shop_id)
    where = _one(shop_id, registry_id, item_id)
    gone = await session.execute(delete(RegistryItem).where(*where, ~bought).returning(RegistryItem.id))
    return bool(gone.all()) or await change(session, shop_id, registry_id, item_id, {"status": ItemStatus.HIDDEN})


def _one(shop_id: int, registry_id: int, item_id: int) -> tuple[Any, ...]:
    return (
        RegistryItem.shop_id == shop_id,
        RegistryItem.registry_id == registry_id,
        RegistryItem.id == item_id,
        RegistryItem.status != ItemStatus.HIDDEN,
    )


def _as_read(reading: VariantReading, observed_at: datetime) -> dict[str, Any]:
    return {
        "product_id": reading.product_id,
        "variant_id": reading.variant_id,
        "inventory_item_id": reading.inventory_item_id,
        "handle": reading.handle,
        "product_title": reading.product_title,
        "variant_title": reading.variant_title,
        "price": reading.price,
        "compare_at_price": reading.compare_at_price,
        "tracked": reading.tracked,
        "inventory_quantity": reading.inventory_quantity,
        "inventory_policy": reading.inventory_policy,
        "available": is_available(reading),
        "status": item_status(reading),
        "inventory_observed_at": observed_at,
    }
