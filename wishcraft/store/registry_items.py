"""Queries about the items of registries, each scoped to one shop."""

from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import case, delete, exists, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.inventory import VariantReading, is_available, item_status
from wishcraft.domain.registries import LIVE_PURCHASES, ItemStatus, Priority, RegistryStatus
from wishcraft.store.registries import CurrentVersion, WriteSession
from wishcraft.store.schema import Purchase, Registry, RegistryItem

_ROWS_AT_ONCE: Final = 5_000
_LIVE: Final = sorted(status.value for status in LIVE_PURCHASES)

Readings = Mapping[int, VariantReading | None]
"""Shopify's readings by variant id; None for a variant that Shopify has deleted."""

# One row per variant. NULL columns of a deleted variant keep the item's values, such as price and title, so guests
# still see the item. `compare_at_price` may be NULL in its own right, so `deleted` decides about it.
_READING: Final = """
WITH reading AS (
    SELECT * FROM jsonb_to_recordset(CAST(:readings AS jsonb)) AS r (
        variant_id bigint, deleted boolean, product_id bigint, inventory_item_id bigint, handle text,
        product_title text, variant_title text, price numeric(15, 4), compare_at_price numeric(15, 4),
        tracked boolean, inventory_quantity bigint, inventory_policy text, available boolean, status text
    )
), change AS (
    SELECT i.id, i.registry_id, n.*
    FROM reading r JOIN registry_items i ON i.shop_id = :shop_id AND i.variant_id = r.variant_id
    JOIN registries g ON g.id = i.registry_id AND g.status = 'active'
    CROSS JOIN LATERAL (
        SELECT coalesce(r.product_id, i.product_id) AS product_id,
            coalesce(r.inventory_item_id, i.inventory_item_id) AS inventory_item_id,
            coalesce(r.handle, i.handle) AS handle,
            coalesce(r.product_title, i.product_title) AS product_title,
            coalesce(r.variant_title, i.variant_title) AS variant_title,
            coalesce(r.price, i.price) AS price,
            CASE WHEN r.deleted THEN i.compare_at_price ELSE r.compare_at_price END AS compare_at_price,
            coalesce(r.tracked, i.tracked) AS tracked,
            coalesce(r.inventory_quantity, i.inventory_quantity) AS inventory_quantity,
            coalesce(r.inventory_policy, i.inventory_policy) AS inventory_policy,
            r.available,
            CASE WHEN i.status = 'hidden' THEN i.status ELSE r.status END AS status
    ) n
    -- Another writer may have stored a newer reading since this one was requested: keep it.
    WHERE (i.inventory_observed_at IS NULL OR i.inventory_observed_at < :observed_at)
      AND (n.product_id, n.inventory_item_id, n.handle, n.product_title, n.variant_title, n.price,
           n.compare_at_price, n.tracked, n.inventory_quantity, n.inventory_policy, n.available, n.status)
        IS DISTINCT FROM
          (i.product_id, i.inventory_item_id, i.handle, i.product_title, i.variant_title, i.price,
           i.compare_at_price, i.tracked, i.inventory_quantity, i.inventory_policy, i.available, i.status)
)
"""
_FIND_IMAGES: Final = text("""
SELECT v.id, i.image FROM unnest(CAST(:variant_ids AS bigint[])) AS v(id) CROSS JOIN LATERAL (
    SELECT image FROM registry_items WHERE shop_id = :shop_id AND variant_id = v.id ORDER BY registry_id DESC LIMIT 1
) i
""")
_FIND_CHANGED: Final = text(_READING + "SELECT DISTINCT registry_id FROM change ORDER BY registry_id")  # noqa: S608  constants alone
_APPLY: Final = text(
    _READING
    + """
UPDATE registry_items i SET
    product_id = c.product_id, inventory_item_id = c.inventory_item_id, handle = c.handle,
    product_title = c.product_title, variant_title = c.variant_title, price = c.price,
    compare_at_price = c.compare_at_price, tracked = c.tracked, inventory_quantity = c.inventory_quantity,
    inventory_policy = c.inventory_policy, available = c.available, status = c.status,
    inventory_observed_at = :observed_at, updated_at = now()
FROM change c WHERE i.id = c.id AND c.registry_id = ANY(CAST(:registry_ids AS bigint[]))
RETURNING i.registry_id
"""
)

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
    """The registries that show an item of which so many pieces are in stock; all if the range is unbounded."""
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


async def find_changed_registries(
    session: AsyncSession, shop_id: int, readings: Readings, observed_at: datetime
) -> list[int]:
    """The ids of the active registries in which these readings would change an item, ascending."""
    parameters = {"shop_id": shop_id, "readings": _encode(readings), "observed_at": observed_at}
    return list(await session.scalars(_FIND_CHANGED, parameters))


async def apply_readings(
    session: WriteSession, shop_id: int, registry_ids: Sequence[int], readings: Readings, observed_at: datetime
) -> list[int]:
    """Update the items that the readings change in these registries, which the caller has locked.

    Skips unchanged items and items that were read after `observed_at`.

    Returns:
        The registry id of each updated item, with repetitions.
    """
    parameters = {
        "shop_id": shop_id,
        "readings": _encode(readings),
        "observed_at": observed_at,
        "registry_ids": list(registry_ids),
    }
    return list(await session.scalars(_APPLY, parameters))


def _encode(readings: Readings) -> str:
    rows = [_row(variant_id, reading) for variant_id, reading in readings.items()]
    return orjson.dumps(rows, default=str).decode()


def _row(variant_id: int, reading: VariantReading | None) -> dict[str, Any]:
    if reading is None:
        gone = {"inventory_quantity": 0, "available": False, "status": item_status(None)}
        return {"variant_id": variant_id, "deleted": True, **gone}
    return {"deleted": False, **_reading_columns(reading)}


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


async def restore(session: WriteSession, shop_id: int, slots: Slots, new: NewItem, reading: ItemReading) -> None:
    """Show the hidden item with the same variant again, with new values; a newer reading that it has stays."""
    values = _columns(new, reading)
    if slots.same_observed_at and slots.same_observed_at > reading.observed_at:
        shown = case((RegistryItem.available, ItemStatus.ACTIVE.value), else_=ItemStatus.OUT_OF_STOCK.value)
        values = _wish_columns(new) | {"status": shown}
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
    parameters = {"shop_id": shop_id, "live": _LIVE, "registry_ids": list(registry_ids)}
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


def _wish_columns(new: NewItem) -> dict[str, Any]:
    return {"quantity_wanted": new.quantity, "priority": new.priority, "notes": new.notes}


def _columns(new: NewItem, reading: ItemReading) -> dict[str, Any]:
    return {
        **_wish_columns(new),
        "image": reading.image,
        "inventory_observed_at": reading.observed_at,
        **_reading_columns(reading.variant),
    }


def _reading_columns(reading: VariantReading) -> dict[str, Any]:
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
        "available": is_available(reading),
        "status": item_status(reading),
    }
