"""Queries that write readings and webhooks of Shopify's variants to items, each scoped to one shop.

The sync, look-ups by id and webhooks use the same two statements. A reading of everything has the time just before
Shopify was asked; a webhook counts as a reading of its part at the end of the second of its `updated_at`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.inventory import VariantReading
from wishcraft.store.registries import WriteSession
from wishcraft.store.registry_items import reading_columns
from wishcraft.store.registry_payloads import DEFAULT_THRESHOLD, LOW_STOCK_THRESHOLD, stock_level_sql


class Observation(NamedTuple):
    """Values of a variant in Shopify, and a time from which on a reading is newer than they are."""

    variant_id: int
    observed_at: datetime
    values: Mapping[str, Any]
    """Of the product (`product_active` is among them), the stock (`inventory_quantity`), `tracked`, or all."""
    is_whole: bool = False
    """Whether Shopify was asked for all values, or has none as it has deleted the variant."""


class ItemChange(NamedTuple):
    """An item as it was before, and as it is after an update."""

    registry_id: int
    variant_id: int
    product_title: str
    variant_title: str
    was_available: bool
    available: bool
    old_price: Decimal
    price: Decimal
    old_currency: str
    currency: str
    is_visible: bool
    """Whether it changed what the registry shows: of the stock, that is its level alone."""


def observe(variant_id: int, reading: VariantReading | None, observed_at: datetime) -> Observation:
    """A reading as an observation; None is a variant that Shopify has deleted."""
    deleted = {"deleted": True, "product_active": False, "inventory_quantity": 0}
    values = {"deleted": False, **reading_columns(reading)} if reading else deleted
    return Observation(variant_id, observed_at, values, is_whole=True)


class WishedVariant(NamedTuple):
    """A variant in active registries."""

    variant_id: int
    product_id: int
    inventory_item_id: int
    tracked: bool
    """Whether all its items say that Shopify counts its pieces."""
    registry_ids: list[int]


_SHOP: Final = f"""
SELECT currency, variants_read_at, outdated_stock, {LOW_STOCK_THRESHOLD} AS low_stock_threshold
FROM shops WHERE id = :shop_id
"""  # noqa: S608  constants alone
# One row per variant. NULL columns keep the item's values: a deleted variant's price and title, so that guests still
# see the item, and what a webhook says nothing of. `compare_at_price` may be NULL in its own right, so `deleted`
# decides about it. Each of the three parts is taken unless a newer webhook has set it. Availability and status follow
# from the three together, as `is_available` and `item_status` have it.
_CHANGE: Final = f"""
, observed AS (
    SELECT * FROM jsonb_to_recordset(CAST(:observations AS jsonb)) AS o (
        variant_id bigint, observed_at timestamptz, is_whole boolean, deleted boolean, product_id bigint,
        inventory_item_id bigint, handle text, product_title text, variant_title text, price numeric(15, 4),
        compare_at_price numeric(15, 4), tracked boolean, inventory_quantity bigint, inventory_policy text,
        product_active boolean
    )
), change AS (
    SELECT i.id, i.registry_id, o.observed_at, o.is_whole, n.*, a.available, e.status,
        i.available AS was_available, i.price AS old_price,
        i.currency AS old_currency,
        -- A cache entry may still show the level that an outdated quantity has with an earlier threshold.
        i.status <> 'hidden' AND (coalesce(s.outdated_stock @> i.inventory_quantity, false) OR
            (n.product_id, n.handle, n.product_title, n.variant_title, n.price, n.compare_at_price, a.available,
             e.status, {stock_level_sql("n")})
            IS DISTINCT FROM (i.product_id, i.handle, i.product_title, i.variant_title, i.price, i.compare_at_price,
             i.available, i.status, {stock_level_sql("i")})) AS is_visible
    FROM observed o
    CROSS JOIN s
    JOIN registry_items i ON i.shop_id = :shop_id AND i.variant_id = o.variant_id
    JOIN registries g ON g.id = i.registry_id AND g.status = 'active'
    LEFT JOIN product_versions p ON p.shop_id = :shop_id AND p.product_id = i.product_id
    LEFT JOIN inventory_items v ON v.shop_id = :shop_id AND v.inventory_item_id = i.inventory_item_id
    LEFT JOIN LATERAL (
        SELECT o.* WHERE o.product_active IS NOT NULL
            AND (p.updated_at IS NULL OR o.observed_at >= p.updated_at + interval '1 second')
    ) product ON true
    LEFT JOIN LATERAL (
        SELECT o.inventory_quantity WHERE v.stock_observed_at IS NULL OR o.observed_at >= v.stock_observed_at
    ) stock ON true
    LEFT JOIN LATERAL (
        SELECT o.tracked WHERE v.updated_at IS NULL OR o.observed_at >= v.updated_at + interval '1 second'
    ) item ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(product.product_id, i.product_id) AS product_id,
            coalesce(product.inventory_item_id, i.inventory_item_id) AS inventory_item_id,
            coalesce(product.handle, i.handle) AS handle,
            coalesce(product.product_title, i.product_title) AS product_title,
            coalesce(product.variant_title, i.variant_title) AS variant_title,
            coalesce(product.price, i.price) AS price,
            CASE WHEN product.price IS NULL THEN i.currency ELSE s.currency END AS currency,
            CASE WHEN product.deleted IS FALSE THEN product.compare_at_price ELSE i.compare_at_price END
                AS compare_at_price,
            coalesce(product.inventory_policy, i.inventory_policy) AS inventory_policy,
            coalesce(product.product_active, i.product_active) AS product_active,
            coalesce(stock.inventory_quantity, i.inventory_quantity) AS inventory_quantity,
            coalesce(item.tracked, i.tracked) AS tracked
    ) n
    CROSS JOIN LATERAL (
        SELECT n.product_active
            AND (NOT n.tracked OR n.inventory_quantity > 0 OR n.inventory_policy = 'continue') AS available
    ) a
    CROSS JOIN LATERAL (
        SELECT CASE WHEN i.status = 'hidden' THEN i.status
            WHEN NOT n.product_active THEN 'discontinued'
            WHEN a.available THEN 'active'
            ELSE 'out_of_stock' END AS status
    ) e
    -- Another writer may have stored a newer reading since this one was made: keep it. A sync stores only what it
    -- changes, so an item may have an older time than its last reading: the start of the last sync counts for webhooks.
    WHERE (i.inventory_observed_at IS NULL OR i.inventory_observed_at < o.observed_at)
      AND (o.is_whole OR s.variants_read_at IS NULL OR s.variants_read_at < o.observed_at
           OR i.created_at >= s.variants_read_at)
      AND (n.product_id, n.inventory_item_id, n.handle, n.product_title, n.variant_title, n.price,
           n.currency, n.compare_at_price, n.tracked, n.inventory_quantity, n.inventory_policy, n.product_active,
           a.available, e.status)
        IS DISTINCT FROM
          (i.product_id, i.inventory_item_id, i.handle, i.product_title, i.variant_title, i.price,
           i.currency, i.compare_at_price, i.tracked, i.inventory_quantity, i.inventory_policy, i.product_active,
           i.available, i.status)
)
"""  # noqa: S608  constants alone
_FIND_CHANGED: Final = text(
    f"WITH s AS MATERIALIZED ({_SHOP}) {_CHANGE} SELECT DISTINCT registry_id FROM change ORDER BY registry_id"  # noqa: S608  ours
).bindparams(low_stock_threshold=DEFAULT_THRESHOLD)
# `shops.await_writers` waits for the lock: with the next threshold, a change may be visible that was not with this one.
_APPLY: Final = text(f"""
WITH s AS MATERIALIZED ({_SHOP} FOR KEY SHARE) {_CHANGE}
UPDATE registry_items i SET
    product_id = c.product_id, inventory_item_id = c.inventory_item_id, handle = c.handle,
    product_title = c.product_title, variant_title = c.variant_title, price = c.price,
    currency = c.currency, compare_at_price = c.compare_at_price, tracked = c.tracked,
    inventory_quantity = c.inventory_quantity, inventory_policy = c.inventory_policy,
    product_active = c.product_active, available = c.available, status = c.status, updated_at = now(),
    inventory_observed_at = CASE WHEN c.is_whole THEN c.observed_at ELSE i.inventory_observed_at END
FROM change c WHERE i.id = c.id AND c.registry_id = ANY(CAST(:registry_ids AS bigint[]))
RETURNING i.registry_id, i.variant_id, i.product_title, i.variant_title, c.was_available, i.available, c.old_price,
    i.price, c.old_currency, i.currency, c.is_visible
""").bindparams(low_stock_threshold=DEFAULT_THRESHOLD)  # noqa: S608  constants alone
_RECORD: Final = text("""
UPDATE registry_items i SET inventory_observed_at = o.observed_at
FROM jsonb_to_recordset(CAST(:observations AS jsonb)) AS o (variant_id bigint, observed_at timestamptz)
WHERE i.shop_id = :shop_id AND i.variant_id = o.variant_id AND i.registry_id = ANY(CAST(:registry_ids AS bigint[]))
    AND coalesce(i.inventory_observed_at, '-infinity') < o.observed_at
""")
_FIND_WISHED: Final = """
SELECT i.variant_id, i.product_id, i.inventory_item_id, bool_and(i.tracked), array_agg(DISTINCT i.registry_id)
FROM registry_items i JOIN registries g ON g.id = i.registry_id AND g.status = 'active'
WHERE i.shop_id = :shop_id AND i.{column} = ANY(CAST(:ids AS bigint[]))
GROUP BY i.variant_id, i.product_id, i.inventory_item_id
"""
_FIND_OF_PRODUCTS: Final = text(_FIND_WISHED.format(column="product_id"))
_FIND_OF_INVENTORY_ITEMS: Final = text(_FIND_WISHED.format(column="inventory_item_id"))


async def find_of_products(session: AsyncSession, shop_id: int, product_ids: Iterable[int]) -> list[WishedVariant]:
    """The wished-for variants of these products."""
    found = await session.execute(_FIND_OF_PRODUCTS, {"shop_id": shop_id, "ids": list(product_ids)})
    return [WishedVariant(*row) for row in found]


async def find_of_inventory_items(session: AsyncSession, shop_id: int, ids: Iterable[int]) -> list[WishedVariant]:
    """The wished-for variants with these inventory items."""
    found = await session.execute(_FIND_OF_INVENTORY_ITEMS, {"shop_id": shop_id, "ids": list(ids)})
    return [WishedVariant(*row) for row in found]


async def find_changed_registries(
    session: AsyncSession, shop_id: int, observations: Sequence[Observation]
) -> list[int]:
    """The ids of the active registries in which these observations would change an item, ascending."""
    parameters = {"shop_id": shop_id, "observations": _encode(observations)}
    return list(await session.scalars(_FIND_CHANGED, parameters))


async def apply_observations(
    session: WriteSession, shop_id: int, registry_ids: Iterable[int], observations: Sequence[Observation]
) -> list[ItemChange]:
    """Update the items that the observations change in these registries, which the caller has locked.

    Skips unchanged items, those with a newer reading, and the parts that a newer webhook has set.

    Returns:
        Each updated item.
    """
    parameters = {"shop_id": shop_id, "observations": _encode(observations), "registry_ids": list(registry_ids)}
    return [ItemChange(*row) for row in await session.execute(_APPLY, parameters)]


async def record_readings(
    session: WriteSession, shop_id: int, registry_ids: Iterable[int], observations: Sequence[Observation]
) -> None:
    """Note the times of whole readings also at items that they do not change: older webhooks then change nothing.

    A sync has one time for all of its readings, that of the shop.
    """
    parameters = {"shop_id": shop_id, "observations": _encode(observations), "registry_ids": list(registry_ids)}
    await session.execute(_RECORD, parameters)


def _encode(observations: Sequence[Observation]) -> str:
    rows = [
        {
            "variant_id": each.variant_id,
            "observed_at": each.observed_at,
            "is_whole": each.is_whole,
            **each.values,
        }
        for each in observations
    ]
    return orjson.dumps(rows, default=str).decode()
