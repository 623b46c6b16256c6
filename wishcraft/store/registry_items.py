"""Queries about the items of registries, each scoped to one shop."""

from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, case, delete, exists, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.inventory import VariantReading, is_available, item_status
from wishcraft.domain.registries import LIVE_PURCHASES, ItemStatus, Priority, RegistryStatus
from wishcraft.store.registries import CurrentVersion, WriteSession
from wishcraft.store.schema import Purchase, Registry, RegistryItem
from wishcraft.store.statements import Call, Statement

_ROWS_AT_ONCE: Final = 5_000
LIVE: Final = sorted(status.value for status in LIVE_PURCHASES)
"""As `:live` in SQL."""

_FIND_IMAGES: Final = text("""
SELECT v.id, i.image FROM unnest(CAST(:variant_ids AS bigint[])) AS v(id) CROSS JOIN LATERAL (
    SELECT image FROM registry_items WHERE shop_id = :shop_id AND variant_id = v.id ORDER BY registry_id DESC LIMIT 1
) i
""")
# Only the few locked registries, so purchases are counted item by item, by an index.
_RECOUNT: Final = text("""
UPDATE registry_items i SET quantity_purchased = m.counted, updated_at = now()
FROM (
    SELECT w.id, w.quantity_purchased AS was, p.counted
    FROM registry_items w CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity), 0)::bigint AS counted FROM purchases
        WHERE item_id = w.id AND shop_id = :shop_id AND status = ANY(:live)
    ) p
    WHERE w.shop_id = :shop_id AND w.registry_id = ANY(:registry_ids) AND w.quantity_purchased <> p.counted
) m
WHERE i.id = m.id
RETURNING i.registry_id, i.id, m.was, m.counted
""")
REGISTRANT_COLUMNS: Final = ("quantity_wanted", "priority", "notes", "display_order")
"""The columns of an item that its registrant changes."""
_FIND_REGISTRANT_VALUES: Final = Statement(
    select(*(getattr(RegistryItem, name) for name in REGISTRANT_COLUMNS))
    .join(Registry, Registry.id == RegistryItem.registry_id)
    .where(
        Registry.shop_id == bindparam("shop_id"),
        Registry.slug == bindparam("slug"),
        RegistryItem.id == bindparam("item_id"),
        RegistryItem.status != ItemStatus.HIDDEN,
    )
)
_SET_REGISTRANT_VALUES: Final = Statement(
    update(RegistryItem)
    .where(
        RegistryItem.shop_id == bindparam("of_shop"),
        RegistryItem.registry_id == bindparam("of_registry"),
        RegistryItem.id == bindparam("of_item"),
    )
    .values({name: bindparam(name) for name in REGISTRANT_COLUMNS})
)


async def find_variants(session: AsyncSession, shop_id: int) -> "array[int]":
    """The distinct variant ids in the shop's active registries, ascending; an array, for 8 bytes an id."""
    query = (
        select(RegistryItem.variant_id)
        .distinct()
        .join(Registry, Registry.id == RegistryItem.registry_id)
        .where(RegistryItem.shop_id == shop_id, Registry.status == RegistryStatus.ACTIVE)
        .order_by(RegistryItem.variant_id)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    found = array("q")
    async for rows in (await session.stream_scalars(query)).partitions():
        found.extend(rows)
    return found


async def find_showing_stock(session: AsyncSession, shop_id: int, quantities: Range[int]) -> list[CurrentVersion]:
    """The registries that show an item with a stock in this range; all if it is unbounded."""
    if quantities.lower is None or quantities.upper is None:
        all_of_shop = select(Registry.slug, Registry.version).where(Registry.shop_id == shop_id)
        return [CurrentVersion._make(row) for row in await session.execute(all_of_shop)]
    query = (
        select(Registry.slug, Registry.version)
        .distinct()
        .join(RegistryItem, RegistryItem.registry_id == Registry.id)
        .where(
            RegistryItem.shop_id == shop_id,
            RegistryItem.tracked,
            RegistryItem.status != ItemStatus.HIDDEN,
            RegistryItem.inventory_quantity >= quantities.lower,
            RegistryItem.inventory_quantity < quantities.upper,
        )
    )
    return [CurrentVersion._make(row) for row in await session.execute(query)]


async def find_images(session: AsyncSession, shop_id: int, variant_ids: Sequence[int]) -> dict[int, str | None]:
    """The images of these variants, by id, as an item of one of the newest registries with the variant has it."""
    parameters = {"shop_id": shop_id, "variant_ids": list(variant_ids)}
    found = await session.execute(_FIND_IMAGES, parameters)
    return {row.id: row.image for row in found}


class NewItem(NamedTuple):
    """The registrant's values of a new item."""

    variant_id: int
    quantity: int
    priority: Priority
    notes: str


class ItemReading(NamedTuple):
    """Shopify's values of a new item; `observed_at` is a time before Shopify was asked for them."""

    variant: VariantReading
    image: str | None
    observed_at: datetime


class Slots(NamedTuple):
    """Number of shown items, last display order, and the item with the same variant, if any."""

    shown: int
    last: int
    same_id: int | None
    same_status: ItemStatus | None
    same_observed_at: datetime | None
    """When its values were read; None also if that is not known."""


class CorrectedCount(NamedTuple):
    """An item whose `quantity_purchased` was wrong, before and after."""

    item_id: int
    was: int
    counted: int


async def find_slots(session: AsyncSession, shop_id: int, registry_id: int, variant_id: int) -> Slots:
    """The registry's slots before the variant is added."""
    where = (RegistryItem.shop_id == shop_id, RegistryItem.registry_id == registry_id)
    shown = func.count().filter(RegistryItem.status != ItemStatus.HIDDEN)
    count = (
        await session.execute(select(shown, func.coalesce(func.max(RegistryItem.display_order), -1)).where(*where))
    ).one()
    same = select(RegistryItem.id, RegistryItem.status, RegistryItem.inventory_observed_at)
    row = (await session.execute(same.where(*where, RegistryItem.variant_id == variant_id))).one_or_none()
    return Slots(*count, *(row or (None, None, None)))


async def add(
    session: WriteSession,
    shop_id: int,
    registry_id: int,
    new: NewItem,
    reading: ItemReading,
    *,
    currency: str,
    display_order: int,
) -> int:
    """Insert an item; returns its id."""
    values = {
        "shop_id": shop_id,
        "registry_id": registry_id,
        "currency": currency,
        "display_order": display_order,
        **_columns(new, reading),
    }
    statement = insert(RegistryItem).values(values).returning(RegistryItem.id)
    return int((await session.execute(statement)).scalar_one())


async def restore(
    session: WriteSession, shop_id: int, slots: Slots, new: NewItem, reading: ItemReading, *, currency: str
) -> None:
    """Show the hidden item with the same variant again, with new values; a newer reading that it has stays."""
    values = _columns(new, reading) | {"currency": currency}
    if slots.same_observed_at and slots.same_observed_at > reading.observed_at:
        shown = case(
            (~RegistryItem.product_active, ItemStatus.DISCONTINUED.value),
            (RegistryItem.available, ItemStatus.ACTIVE.value),
            else_=ItemStatus.OUT_OF_STOCK.value,
        )
        values = _registrant_columns(new) | {"status": shown}
    where = (RegistryItem.shop_id == shop_id, RegistryItem.id == slots.same_id)
    await session.execute(update(RegistryItem).where(*where).values(values))


async def update_columns(
    session: WriteSession, shop_id: int, registry_id: int, item_id: int, values: Mapping[str, Any]
) -> set[str] | None:
    """Set these columns of a shown item; the names of those that had another value, None if there is no such item."""
    where = _shown(shop_id, registry_id, item_id)
    columns = (getattr(RegistryItem, name) for name in values)
    current = (await session.execute(select(RegistryItem.id, *columns).where(*where))).one_or_none()
    if current is None:
        return None
    changed = {name: value for (name, value), old in zip(values.items(), current[1:], strict=True) if value != old}
    if changed:
        await session.execute(update(RegistryItem).where(*where).values(**changed))
    return set(changed)


def find_registrant_values(shop_id: int, slug: str, item_id: int) -> Call:
    """The item's values of `REGISTRANT_COLUMNS`, in this order; no row if the registry has no such item."""
    return _FIND_REGISTRANT_VALUES(shop_id=shop_id, slug=slug, item_id=item_id)


def set_registrant_values(shop_id: int, registry_id: int, item_id: int, values: Mapping[str, Any]) -> Call:
    """Set the registrant's values of an item of a locked registry, all of them."""
    return _SET_REGISTRANT_VALUES(of_shop=shop_id, of_registry=registry_id, of_item=item_id, **values)


async def remove(session: WriteSession, shop_id: int, registry_id: int, item_id: int) -> bool:
    """Delete an item, or hide it if it has purchases, which are kept; False if there is none."""
    bought = exists().where(Purchase.item_id == item_id, Purchase.shop_id == shop_id)
    where = _shown(shop_id, registry_id, item_id)
    deleted = await session.execute(delete(RegistryItem).where(*where, ~bought).returning(RegistryItem.id))
    if deleted.all():
        return True
    return await update_columns(session, shop_id, registry_id, item_id, {"status": ItemStatus.HIDDEN}) is not None


async def recount(session: WriteSession, shop_id: int, registry_ids: Sequence[int]) -> dict[int, list[CorrectedCount]]:
    """Set `quantity_purchased` of these locked registries' items to the sum of their live purchases.

    Returns:
        The corrected items, by registry id.
    """
    parameters = {"shop_id": shop_id, "live": LIVE, "registry_ids": list(registry_ids)}
    corrected: dict[int, list[CorrectedCount]] = {}
    for registry_id, *item in await session.execute(_RECOUNT, parameters):
        corrected.setdefault(registry_id, []).append(CorrectedCount(*item))
    return corrected


def _shown(shop_id: int, registry_id: int, item_id: int) -> tuple[Any, ...]:
    return (
        RegistryItem.shop_id == shop_id,
        RegistryItem.registry_id == registry_id,
        RegistryItem.id == item_id,
        RegistryItem.status != ItemStatus.HIDDEN,
    )


def _registrant_columns(new: NewItem) -> dict[str, Any]:
    return {"quantity_wanted": new.quantity, "priority": new.priority, "notes": new.notes}


def _columns(new: NewItem, reading: ItemReading) -> dict[str, Any]:
    return {
        **_registrant_columns(new),
        "image": reading.image,
        "inventory_observed_at": reading.observed_at,
        **reading_columns(reading.variant),
    }


def reading_columns(reading: VariantReading) -> dict[str, Any]:
    """The values that an item takes from a reading."""
    return {
        "variant_id": reading.variant_id,
        "product_id": reading.product_id,
        "inventory_item_id": reading.inventory_item_id,
        "handle": reading.handle,
        "product_title": reading.product_title,
        "variant_title": reading.variant_title,
        "price": reading.price,
        "compare_at_price": reading.compare_at_price,
        "tracked": reading.tracked,
        "inventory_quantity": reading.inventory_quantity,
        "inventory_policy": reading.inventory_policy,
        "product_active": reading.product_active,
        "available": is_available(reading),
        "status": item_status(reading),
    }
