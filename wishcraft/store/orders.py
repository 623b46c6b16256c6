"""Queries about the newest known state of orders."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import text

from wishcraft.store.registries import WriteSession


class OrderState(NamedTuple):
    """The newest state of an order that was applied."""

    updated_at: datetime | None
    triggered_at: datetime | None
    adjustments: dict[str, Any]
    """By name: `at` and `pieces` by line item; empty for one that the newest snapshot includes."""


# Inserted in the order of their ids, which two writers that know the same orders wait for in turn.
_ADD: Final = text("""
INSERT INTO orders (shop_id, order_id)
SELECT :shop_id, id FROM unnest(CAST(:order_ids AS bigint[])) AS o(id) ORDER BY id
ON CONFLICT DO NOTHING
""")
_LOCK: Final = text("""
SELECT order_id, updated_at, triggered_at, adjustments FROM orders
WHERE shop_id = :shop_id AND order_id = ANY(:order_ids) ORDER BY order_id FOR UPDATE
""")
_SAVE: Final = text("""
UPDATE orders o SET updated_at = n.updated_at, triggered_at = n.triggered_at, adjustments = n.adjustments,
    seen_at = now()
FROM jsonb_to_recordset(CAST(:states AS jsonb)) AS n (
    order_id bigint, updated_at timestamptz, triggered_at timestamptz, adjustments jsonb
)
WHERE o.shop_id = :shop_id AND o.order_id = n.order_id
""")


async def lock(session: WriteSession, shop_id: int, order_ids: Iterable[int]) -> dict[int, OrderState]:
    """Lock the orders' rows, which are added where they are missing; by id."""
    parameters = {"shop_id": shop_id, "order_ids": sorted(order_ids)}
    await session.execute(_ADD, parameters)
    rows = await session.execute(_LOCK, parameters)
    return {order_id: OrderState(*state) for order_id, *state in rows}


async def save(session: WriteSession, shop_id: int, states: Mapping[int, OrderState]) -> None:
    """Store the states of these orders, by id."""
    rows: Sequence[dict[str, Any]] = [{"order_id": key, **state._asdict()} for key, state in states.items()]
    await session.execute(_SAVE, {"shop_id": shop_id, "states": orjson.dumps(rows).decode()})
