"""Queries about purchases and unmatched line items, each scoped to one shop."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
from sqlalchemy import Select, delete, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.registries import LIVE_PURCHASES, ItemStatus, PurchaseStatus
from wishcraft.store.registries import WriteSession
from wishcraft.store.schema import Registry, RegistryItem, UnmatchedLine


class StoredLine(NamedTuple):
    """A line item that is stored, as a purchase or as an unmatched line."""

    order_id: int
    line_item_id: int
    registry_id: int | None
    """None for an unmatched line."""
    item_id: int | None
    """None for an unmatched line, and for a purchase whose registry was deleted."""
    ordered: int
    quantity: int
    status: PurchaseStatus
    claim: str
    """Of an unmatched line; else empty."""
    is_dismissed: bool
    """Whether a person decided that it belongs to no item."""


class ItemRef(NamedTuple):
    """An item, and by what a line item can name it."""

    id: int
    registry_id: int
    variant_id: int
    attribution: UUID
    slug: str
    created_at: datetime
    is_hidden: bool


class PurchaseRow(NamedTuple):
    """The columns of a purchase that a line item gives."""

    registry_id: int
    item_id: int
    order_id: int
    line_item_id: int
    order_name: str
    ordered: int
    quantity: int
    unit_price: Decimal
    purchaser_id: int | None
    purchaser_name: str | None
    purchaser_email: str | None
    anonymous: bool
    gift_message: str | None
    status: PurchaseStatus
    visitor: str | None = None
    """The `visitor_id` of the guest's events; stored with the event of the purchase alone."""
    created_at: datetime | None = None
    """When its order came; None: now."""


class UnmatchedRow(NamedTuple):
    """The columns of an unmatched line that a line item gives."""

    order_id: int
    line_item_id: int
    order_name: str
    variant_id: int | None
    product_title: str
    ordered: int
    quantity: int
    unit_price: Decimal
    status: PurchaseStatus
    claim: str
    reason: str
    purchaser_id: int | None
    purchaser_name: str | None
    purchaser_email: str | None
    anonymous: bool
    gift_message: str | None
    created_at: datetime | None = None
    """When it was stored; None: it is new."""


class LineChange(NamedTuple):
    """New pieces and status of a stored line."""

    line_item_id: int
    ordered: int
    quantity: int
    status: PurchaseStatus


_FIND: Final = text("""
SELECT order_id, line_item_id, registry_id, item_id, coalesce(ordered, quantity) AS ordered, quantity,
    status, '' AS claim, false AS is_dismissed
FROM purchases
WHERE shop_id = :shop_id AND order_id = ANY(:order_ids)
UNION ALL
SELECT order_id, line_item_id, NULL, NULL, ordered, quantity, status, claim, dismissed_at IS NOT NULL
FROM unmatched_lines
WHERE shop_id = :shop_id AND order_id = ANY(:order_ids)
""")
# A purchase is the last event of its guest's visit. A guest whose browser is not known is a visitor by the order.
_ADD: Final = text("""
WITH bought AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
        registry_id bigint, item_id bigint, order_id bigint, line_item_id bigint, order_name text, ordered bigint,
        quantity bigint, unit_price numeric(15, 4), purchaser_id bigint, purchaser_name text, purchaser_email text,
        anonymous boolean, gift_message text, status text, visitor text, created_at timestamptz
    )
), added AS (
    INSERT INTO purchases (shop_id, registry_id, item_id, order_id, line_item_id, order_name, ordered, quantity,
        unit_price, purchaser_id, purchaser_name, purchaser_email, anonymous, gift_message, status, created_at)
    SELECT :shop_id, registry_id, item_id, order_id, line_item_id, order_name, ordered, quantity,
        unit_price, purchaser_id, purchaser_name, purchaser_email, anonymous, gift_message, status,
        coalesce(created_at, now())
    FROM bought
    ON CONFLICT (shop_id, line_item_id) DO NOTHING
    RETURNING shop_id, registry_id, item_id, order_id, line_item_id, status, created_at
)
INSERT INTO analytics_events (shop_id, registry_id, type, occurred_at, visitor_id, data)
SELECT a.shop_id, a.registry_id, 'purchased', a.created_at, coalesce(b.visitor, 'order-' || a.order_id),
    jsonb_build_object('item_id', i.id, 'variant_id', i.variant_id)
FROM added a JOIN bought b USING (line_item_id)
JOIN registry_items i ON i.shop_id = a.shop_id AND i.registry_id = a.registry_id AND i.id = a.item_id
WHERE a.status IN ('pending', 'confirmed')
""")
_ADD_UNMATCHED: Final = text("""
INSERT INTO unmatched_lines (shop_id, order_id, line_item_id, order_name, variant_id, product_title, ordered,
    quantity, unit_price, status, claim, reason, purchaser_id, purchaser_name, purchaser_email, anonymous,
    gift_message)
SELECT :shop_id, r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
    order_id bigint, line_item_id bigint, order_name text, variant_id bigint, product_title text, ordered bigint,
    quantity bigint, unit_price numeric(15, 4), status text, claim text, reason text, purchaser_id bigint,
    purchaser_name text, purchaser_email text, anonymous boolean, gift_message text
)
ON CONFLICT (shop_id, line_item_id) DO NOTHING
""")
# In the order of their ids, as merges and erasures lock them.
_CHANGED: Final = """
WITH changed AS MATERIALIZED (
    SELECT p.id, c.* FROM {table} p JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS c (
        line_item_id bigint, ordered bigint, quantity bigint, status text
    ) ON p.line_item_id = c.line_item_id
    WHERE p.shop_id = :shop_id AND (p.ordered, p.quantity, p.status) IS DISTINCT FROM (c.ordered, c.quantity, c.status)
    ORDER BY p.id FOR UPDATE OF p
)
UPDATE {table} p SET ordered = c.ordered, quantity = c.quantity, status = c.status{touch}
FROM changed c WHERE p.id = c.id
"""
_CHANGE: Final = text(_CHANGED.format(table="purchases", touch=", updated_at = now()"))
_CHANGE_UNMATCHED: Final = text(_CHANGED.format(table="unmatched_lines", touch=""))


async def find_lines(session: AsyncSession, shop_id: int, order_ids: Sequence[int]) -> list[StoredLine]:
    """The stored lines of these orders."""
    rows = await session.execute(_FIND, {"shop_id": shop_id, "order_ids": list(order_ids)})
    return [StoredLine._make(row)._replace(status=PurchaseStatus(row.status)) for row in rows]


async def find_items(
    session: AsyncSession, shop_id: int, attributions: Sequence[UUID], slug_variant_pairs: Sequence[tuple[str, int]]
) -> list[ItemRef]:
    """The items with these attributions, and those of these registries with these variants, by slug and variant id."""
    query = _items(shop_id)
    found: list[Any] = []
    if attributions:
        found += (await session.execute(query.where(RegistryItem.attribution.in_(attributions)))).all()
    if slug_variant_pairs:
        is_named = tuple_(Registry.slug, RegistryItem.variant_id).in_(slug_variant_pairs)
        found += (await session.execute(query.where(is_named))).all()
    return [ItemRef(*row) for row in found]


async def add(session: WriteSession, shop_id: int, rows: Sequence[PurchaseRow]) -> None:
    """Insert purchases with their events; a line item that is stored already stays as it is, without an event."""
    if rows:
        await session.execute(_ADD, {"shop_id": shop_id, "rows": _encode(rows)})


async def add_unmatched(session: WriteSession, shop_id: int, rows: Sequence[UnmatchedRow]) -> None:
    """Insert unmatched lines; a line item that is stored already stays as it is."""
    if rows:
        await session.execute(_ADD_UNMATCHED, {"shop_id": shop_id, "rows": _encode(rows)})


async def change(session: WriteSession, shop_id: int, changes: Sequence[LineChange]) -> None:
    """Set pieces and status of stored lines: the unmatched ones first, as merges do, or the two wait for each other."""
    if changes:
        parameters = {"shop_id": shop_id, "rows": _encode(changes)}
        await session.execute(_CHANGE_UNMATCHED, parameters)
        await session.execute(_CHANGE, parameters)


async def delete_unmatched(session: WriteSession, shop_id: int, line_item_ids: Sequence[int]) -> None:
    """Delete unmatched lines that have become purchases."""
    if line_item_ids:
        where = (UnmatchedLine.shop_id == shop_id, UnmatchedLine.line_item_id.in_(line_item_ids))
        await session.execute(delete(UnmatchedLine).where(*where))


class ListedLine(NamedTuple):
    """An unmatched line as people see it: without a purchaser, and without the text of its claim."""

    id: int
    order_id: int
    order_name: str
    product_title: str
    variant_id: int | None
    quantity: int
    status: str
    reason: str
    created_at: Any
    named_item: int | None
    """The item whose attribution the claim is."""
    named_registry: int | None
    """The registry whose slug the claim is."""
    candidates: list[int]
    """The newest items of active registries with its variant."""


_LIST: Final = text("""
SELECT u.id, u.order_id, u.order_name, u.product_title, u.variant_id, u.quantity, u.status, u.reason, u.created_at,
    i.id, r.id,
    ARRAY(
        SELECT c.id FROM registry_items c JOIN registries g ON g.id = c.registry_id
        WHERE c.shop_id = u.shop_id AND c.variant_id = u.variant_id AND g.status = 'active' ORDER BY c.id DESC LIMIT 5
    )
FROM unmatched_lines u
LEFT JOIN registry_items i ON i.shop_id = u.shop_id AND i.attribution = CASE
    WHEN u.claim ~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' THEN CAST(u.claim AS uuid)
END
LEFT JOIN registries r ON r.shop_id = u.shop_id AND r.slug = u.claim
WHERE u.shop_id = :shop_id AND u.dismissed_at IS NULL AND u.status IN ('pending', 'confirmed')
ORDER BY u.id LIMIT :most
""")


async def find_unmatched(session: AsyncSession, shop_id: int, most: int) -> tuple[list[ListedLine], int]:
    """The oldest unmatched lines that are bought and were not dismissed, and how many there are."""
    rows = await session.execute(_LIST, {"shop_id": shop_id, "most": most})
    where = (
        UnmatchedLine.shop_id == shop_id, UnmatchedLine.dismissed_at.is_(None), UnmatchedLine.status.in_(LIVE_PURCHASES)
    )  # fmt: skip
    total = (await session.execute(select(func.count()).select_from(UnmatchedLine).where(*where))).scalar_one()
    return [ListedLine(*row) for row in rows], int(total)


async def find_unmatched_order(session: AsyncSession, shop_id: int, unmatched_id: int) -> int | None:
    """The order of an unmatched line, or None if the shop has no such line."""
    where = (UnmatchedLine.shop_id == shop_id, UnmatchedLine.id == unmatched_id)
    return (await session.execute(select(UnmatchedLine.order_id).where(*where))).scalar_one_or_none()


async def take_unmatched(session: WriteSession, shop_id: int, unmatched_id: int) -> UnmatchedRow | None:
    """Delete an unmatched line, which becomes a purchase; its columns, or None if the shop has no such line.

    Its order must be locked: a webhook of the order may change the line.
    """
    columns = [getattr(UnmatchedLine, name) for name in UnmatchedRow._fields]
    where = (UnmatchedLine.shop_id == shop_id, UnmatchedLine.id == unmatched_id)
    row = (await session.execute(delete(UnmatchedLine).where(*where).returning(*columns))).one_or_none()
    return UnmatchedRow(*row) if row else None


async def dismiss_unmatched(session: WriteSession, shop_id: int, unmatched_id: int) -> bool:
    """Note that an unmatched line belongs to no item; False if the shop has no such line that was not dismissed."""
    where = (
        UnmatchedLine.shop_id == shop_id, UnmatchedLine.id == unmatched_id, UnmatchedLine.dismissed_at.is_(None)
    )  # fmt: skip
    dismissed = update(UnmatchedLine).where(*where).values(dismissed_at=func.now()).returning(UnmatchedLine.id)
    return bool((await session.execute(dismissed)).all())


class OverPurchase(NamedTuple):
    """An item with more bought than wanted."""

    registry_id: int
    item_id: int
    product_title: str
    wanted: int
    purchased: int


async def find_over_purchases(session: AsyncSession, shop_id: int, limit: int) -> list[OverPurchase]:
    """Items of active registries with more bought than wanted, the largest excess first."""
    excess = RegistryItem.quantity_purchased - RegistryItem.quantity_wanted
    query = (
        select(
            RegistryItem.registry_id,
            RegistryItem.id,
            RegistryItem.product_title,
            RegistryItem.quantity_wanted,
            RegistryItem.quantity_purchased,
        )
        .join(Registry, Registry.id == RegistryItem.registry_id)
        .where(RegistryItem.shop_id == shop_id, Registry.status == "active", excess > 0)
        .where(RegistryItem.status != ItemStatus.HIDDEN)
        .order_by(excess.desc(), RegistryItem.id)
        .limit(limit)
    )
    return [OverPurchase(*row) for row in await session.execute(query)]


async def find_item(session: AsyncSession, shop_id: int, item_id: int) -> ItemRef | None:
    """The shop's item, or None."""
    row = (await session.execute(_items(shop_id).where(RegistryItem.id == item_id))).one_or_none()
    return ItemRef(*row) if row else None


def _items(shop_id: int) -> Select[int, int, int, UUID, str, datetime, bool]:
    return (
        select(
            RegistryItem.id,
            RegistryItem.registry_id,
            RegistryItem.variant_id,
            RegistryItem.attribution,
            Registry.slug,
            RegistryItem.created_at,
            RegistryItem.status == ItemStatus.HIDDEN,
        )
        .join(Registry, Registry.id == RegistryItem.registry_id)
        .where(RegistryItem.shop_id == shop_id)
    )


def _encode(rows: Sequence[PurchaseRow | UnmatchedRow | LineChange]) -> str:
    return orjson.dumps([row._asdict() for row in rows], default=str).decode()
