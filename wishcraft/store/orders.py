"""Queries about the newest known state of orders."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.registries import WriteSession


class OrderState(NamedTuple):
    """The newest state of an order that was applied."""

    updated_at: datetime | None
    triggered_at: datetime | None
    adjustments: dict[str, Any]
    """By name: `at` and `pieces` by line item; empty for one that the newest snapshot includes."""
    awaited_since: datetime | None
    """Of the oldest change that was read from Shopify and that no webhook has brought."""
    ordered_at: datetime | None
    """None if it is not known."""
    judged: list[int]
    """Line items for which a claim of the whole order was judged."""


_COLUMNS: Final = ", ".join(("order_id", *OrderState._fields))
# In the order of their ids, which two writers that know the same orders wait for in turn. By one statement: the cleanup
# could delete between two what the first one has found.
_LOCK: Final = text(f"""
INSERT INTO orders AS known (shop_id, order_id)
SELECT :shop_id, id FROM unnest(CAST(:order_ids AS bigint[])) AS o(id) ORDER BY id
ON CONFLICT (shop_id, order_id) DO UPDATE SET seen_at = known.seen_at
RETURNING {_COLUMNS}
""")  # noqa: S608  constants alone
_FIND: Final = text(f"""
SELECT {_COLUMNS} FROM orders WHERE shop_id = :shop_id AND order_id = ANY(:order_ids)
""")  # noqa: S608  constants alone
_TAKE_OVERDUE: Final = text("""
UPDATE orders SET awaited_since = NULL WHERE shop_id = :shop_id AND awaited_since <= :before RETURNING order_id
""")
_FIND_LIVE: Final = text("""
SELECT o.order_id FROM orders o
WHERE o.shop_id = :shop_id AND o.ordered_at BETWEEN :since AND :until AND (
    EXISTS (
        SELECT FROM purchases p
        WHERE p.shop_id = o.shop_id AND p.order_id = o.order_id AND p.status IN ('pending', 'confirmed')
    )
    OR EXISTS (
        SELECT FROM unmatched_lines u WHERE u.shop_id = o.shop_id AND u.order_id = o.order_id
            AND u.status IN ('pending', 'confirmed') AND u.dismissed_at IS NULL
    )
)
ORDER BY o.asked_at NULLS FIRST, o.order_id LIMIT :most
""")
_RECORD_ASKED: Final = text("""
UPDATE orders SET asked_at = now() WHERE shop_id = :shop_id AND order_id = ANY(:order_ids)
""")
_SAVE: Final = text("""
UPDATE orders o SET updated_at = n.updated_at, triggered_at = n.triggered_at, adjustments = n.adjustments,
    awaited_since = n.awaited_since, ordered_at = n.ordered_at, judged = n.judged, seen_at = now()
FROM jsonb_to_recordset(CAST(:states AS jsonb)) AS n (
    order_id bigint, updated_at timestamptz, triggered_at timestamptz, adjustments jsonb, awaited_since timestamptz,
    ordered_at timestamptz, judged bigint[]
)
WHERE o.shop_id = :shop_id AND o.order_id = n.order_id
""")


async def lock(session: WriteSession, shop_id: int, order_ids: Iterable[int]) -> dict[int, OrderState]:
    """Lock the orders' rows, which are added where they are missing; by id."""
    rows = await session.execute(_LOCK, {"shop_id": shop_id, "order_ids": sorted(order_ids)})
    return {order_id: OrderState(*state) for order_id, *state in rows}


async def find(session: AsyncSession, shop_id: int, order_ids: Iterable[int]) -> dict[int, OrderState]:
    """The states of those of these orders that are known, by id."""
    rows = await session.execute(_FIND, {"shop_id": shop_id, "order_ids": list(order_ids)})
    return {order_id: OrderState(*state) for order_id, *state in rows}


async def take_overdue(session: AsyncSession, shop_id: int, before: datetime) -> int:
    """How many orders' webhooks have been awaited since before this time; they are awaited no longer."""
    return len((await session.execute(_TAKE_OVERDUE, {"shop_id": shop_id, "before": before})).all())


async def find_live(session: AsyncSession, shop_id: int, since: datetime, until: datetime, most: int) -> list[int]:
    """Orders made between these times by which something counts as bought, those asked about longest ago first."""
    parameters = {"shop_id": shop_id, "since": since, "until": until, "most": most}
    return list(await session.scalars(_FIND_LIVE, parameters))


async def record_asked(session: AsyncSession, shop_id: int, order_ids: Sequence[int]) -> None:
    """Record that Shopify was asked whether these orders exist."""
    await session.execute(_RECORD_ASKED, {"shop_id": shop_id, "order_ids": list(order_ids)})


async def save(session: WriteSession, shop_id: int, states: Mapping[int, OrderState]) -> None:
    """Store the states of these orders, by id."""
    rows: Sequence[dict[str, Any]] = [{"order_id": key, **state._asdict()} for key, state in states.items()]
    await session.execute(_SAVE, {"shop_id": shop_id, "states": orjson.dumps(rows).decode()})
