"""Queries about stock by location, and about what webhooks have said of inventory items; each scoped to one shop."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.webhooks import EventTime
from wishcraft.store.item_readings import Observation
from wishcraft.store.registries import WriteSession


class StockAtLocation(NamedTuple):
    """The pieces that a location has of an inventory item, and when it had them."""

    inventory_item_id: int
    location_id: int
    available: int
    time: EventTime

    @property
    def version(self) -> tuple[EventTime, int]:
        """Orders the levels of one item at one location."""
        return self.time, self.available


class Tracking(NamedTuple):
    """Whether Shopify counts the pieces of an inventory item, and when it said so."""

    inventory_item_id: int
    tracked: bool
    time: EventTime

    @property
    def version(self) -> tuple[EventTime, bool]:
        """Orders what is said of one item."""
        return self.time, self.tracked


class ItemState(NamedTuple):
    """State of an inventory item."""

    tracked: bool | None = None
    """As the newest webhook said; None if there was none."""
    levels_read_at: datetime | None = None
    """When all its levels were read from Shopify; None while some may be unknown or outdated."""
    revision: int | None = None
    """Differs after each change of its row."""


class ReadLevels(NamedTuple):
    """All levels of an inventory item as Shopify has them, and when they were read."""

    levels: Sequence[StockAtLocation]
    read_at: datetime


class Stock(NamedTuple):
    """The sum of the levels of an inventory item, and a time from which on a reading is newer."""

    inventory_item_id: int
    quantity: int
    observed_at: datetime


_STATE: Final = "inventory_item_id, tracked, levels_read_at, CAST(CAST(xmin AS text) AS bigint)"
_FIND: Final = text(f"""
SELECT {_STATE} FROM inventory_items
WHERE shop_id = :shop_id AND inventory_item_id = ANY(CAST(:ids AS bigint[]))
""")  # noqa: S608  ours
# In the order of their ids, which two writers that know the same items wait for in turn.
_ADD: Final = text("""
INSERT INTO inventory_items (shop_id, inventory_item_id)
SELECT :shop_id, id FROM unnest(CAST(:ids AS bigint[])) AS i(id) ORDER BY id
ON CONFLICT DO NOTHING
""")
_LOCK: Final = text(f"""
SELECT {_STATE} FROM inventory_items
WHERE shop_id = :shop_id AND inventory_item_id = ANY(CAST(:ids AS bigint[]))
ORDER BY inventory_item_id FOR UPDATE
""")  # noqa: S608  ours
_SAVE_TRACKING: Final = text("""
UPDATE inventory_items i SET updated_at = n.updated_at, triggered_at = n.triggered_at, tracked = n.tracked
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n (
    inventory_item_id bigint, tracked boolean, updated_at timestamptz, triggered_at timestamptz
)
WHERE i.shop_id = :shop_id AND i.inventory_item_id = n.inventory_item_id AND (i.updated_at IS NULL
    OR (n.updated_at, n.triggered_at, n.tracked) > (i.updated_at, i.triggered_at, i.tracked))
RETURNING i.inventory_item_id
""")
_SAVE_LEVELS: Final = text("""
INSERT INTO inventory_levels AS l (
    shop_id, inventory_item_id, location_id, available, updated_at, triggered_at
)
SELECT :shop_id, n.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n (
    inventory_item_id bigint, location_id bigint, available bigint, updated_at timestamptz, triggered_at timestamptz
)
ON CONFLICT (shop_id, inventory_item_id, location_id) DO UPDATE SET available = excluded.available,
    updated_at = excluded.updated_at, triggered_at = excluded.triggered_at
WHERE (excluded.updated_at, excluded.triggered_at, excluded.available) > (l.updated_at, l.triggered_at, l.available)
RETURNING inventory_item_id, location_id
""")
_DELETE_ABSENT: Final = text("""
DELETE FROM inventory_levels l USING jsonb_to_recordset(CAST(:read AS jsonb)) AS r (
    inventory_item_id bigint, location_ids jsonb, read_at timestamptz
)
WHERE l.shop_id = :shop_id AND l.inventory_item_id = r.inventory_item_id AND l.updated_at < r.read_at
    AND NOT r.location_ids @> to_jsonb(l.location_id)
""")
_SAVE_READ: Final = text("""
UPDATE inventory_items i SET levels_read_at = greatest(i.levels_read_at, r.read_at)
FROM jsonb_to_recordset(CAST(:read AS jsonb)) AS r (inventory_item_id bigint, read_at timestamptz)
WHERE i.shop_id = :shop_id AND i.inventory_item_id = r.inventory_item_id
""")
_ADD_UP: Final = text("""
UPDATE inventory_items i SET stock_observed_at = greatest(i.levels_read_at, s.newest + interval '1 second')
FROM unnest(CAST(:ids AS bigint[])) AS n(id) CROSS JOIN LATERAL (
    SELECT coalesce(sum(available), 0)::bigint AS quantity, max(updated_at) AS newest
    FROM inventory_levels WHERE shop_id = :shop_id AND inventory_item_id = n.id
) s
WHERE i.shop_id = :shop_id AND i.inventory_item_id = n.id AND i.levels_read_at IS NOT NULL
RETURNING i.inventory_item_id, s.quantity, i.stock_observed_at
""")
_FORGET_WRONG: Final = text("""
WITH wrong AS (
    SELECT v.inventory_item_id FROM jsonb_to_recordset(CAST(:readings AS jsonb)) AS r (
        inventory_item_id bigint, quantity bigint, observed_at timestamptz
    )
    JOIN inventory_items v ON v.shop_id = :shop_id AND v.inventory_item_id = r.inventory_item_id
    WHERE v.levels_read_at IS NOT NULL AND r.observed_at >= v.stock_observed_at AND r.quantity <> (
        SELECT coalesce(sum(available), 0) FROM inventory_levels l
        WHERE l.shop_id = v.shop_id AND l.inventory_item_id = v.inventory_item_id
    )
    ORDER BY v.inventory_item_id FOR UPDATE OF v
)
UPDATE inventory_items i SET levels_read_at = NULL FROM wrong w
WHERE i.shop_id = :shop_id AND i.inventory_item_id = w.inventory_item_id
""")
# Rows whose levels are not known are changed, too: who is reading them now finds another revision.
_FORGET: Final = text("""
WITH known AS (
    SELECT inventory_item_id FROM inventory_items
    WHERE shop_id = :shop_id AND inventory_item_id = ANY(CAST(:ids AS bigint[]))
    ORDER BY inventory_item_id FOR UPDATE
)
UPDATE inventory_items i SET levels_read_at = NULL FROM known k
WHERE i.shop_id = :shop_id AND i.inventory_item_id = k.inventory_item_id
""")


async def find_items(session: AsyncSession, shop_id: int, ids: Iterable[int]) -> dict[int, ItemState]:
    """State of these inventory items, by id; those without a webhook are left out."""
    return _states(await session.execute(_FIND, {"shop_id": shop_id, "ids": list(ids)}))


async def add_items(session: AsyncSession, shop_id: int, ids: Iterable[int]) -> dict[int, ItemState]:
    """As `find_items`, of all of these: rows are added where they are missing."""
    await session.execute(_ADD, {"shop_id": shop_id, "ids": list(ids)})
    return await find_items(session, shop_id, ids)


async def lock_items(
    session: WriteSession, shop_id: int, ids: AbstractSet[int], unwished: AbstractSet[int]
) -> dict[int, ItemState]:
    """Lock the rows of these inventory items; what is known of them, by id.

    Rows of `ids` are added where they are missing, those of `unwished` are not. A transaction calls this once: two that
    lock rows twice may wait for each other.
    """
    await session.execute(_ADD, {"shop_id": shop_id, "ids": list(ids)})
    return _states(await session.execute(_LOCK, {"shop_id": shop_id, "ids": list(ids | unwished)}))


async def save_tracking(session: WriteSession, shop_id: int, news: Sequence[Tracking]) -> set[int]:
    """Store what is newer than what is known of the locked inventory items, at most one for each; their ids."""
    rows = [_row(each) for each in news]
    return set(await session.scalars(_SAVE_TRACKING, {"shop_id": shop_id, "rows": _json(rows)}))


async def save_levels(session: WriteSession, shop_id: int, levels: Sequence[StockAtLocation]) -> set[tuple[int, int]]:
    """Store the levels, at most one for an item and location, that are newer; their items and locations."""
    rows = [_row(each) for each in levels]
    saved = await session.execute(_SAVE_LEVELS, {"shop_id": shop_id, "rows": _json(rows)})
    return {(row.inventory_item_id, row.location_id) for row in saved}


async def save_read(session: WriteSession, shop_id: int, read: Mapping[int, ReadLevels]) -> None:
    """Store all levels of these locked inventory items, by id.

    Levels that Shopify no longer has are deleted, unless they are newer than the reading.
    """
    await save_levels(session, shop_id, [level for each in read.values() for level in each.levels])
    rows = [
        {
            "inventory_item_id": item_id,
            "location_ids": [level.location_id for level in each.levels],
            "read_at": each.read_at,
        }
        for item_id, each in read.items()
    ]
    parameters = {"shop_id": shop_id, "read": _json(rows)}
    await session.execute(_DELETE_ABSENT, parameters)
    await session.execute(_SAVE_READ, parameters)


async def add_up(session: WriteSession, shop_id: int, ids: Iterable[int]) -> list[Stock]:
    """The stock of those of these inventory items whose levels are all known."""
    found = await session.execute(_ADD_UP, {"shop_id": shop_id, "ids": list(ids)})
    return [Stock(*row) for row in found]


async def forget_levels(session: WriteSession, shop_id: int, ids: Iterable[int]) -> None:
    """Count the levels of these inventory items as not all known: a level has changed and was not stored.

    A transaction that also calls `lock_items` locks them there before.
    """
    await session.execute(_FORGET, {"shop_id": shop_id, "ids": list(ids)})


async def forget_wrong(session: WriteSession, shop_id: int, readings: Sequence[Observation]) -> None:
    """Count levels as not all known if they do not add up to the stock of a newer reading: a webhook was missed."""
    rows = [
        {
            "inventory_item_id": each.values["inventory_item_id"],
            "quantity": each.values["inventory_quantity"],
            "observed_at": each.observed_at,
        }
        for each in readings
        if "inventory_item_id" in each.values
    ]
    await session.execute(_FORGET_WRONG, {"shop_id": shop_id, "readings": _json(rows)})


def _states(rows: Iterable[Any]) -> dict[int, ItemState]:
    return {item_id: ItemState(*state) for item_id, *state in rows}


def _row(each: StockAtLocation | Tracking) -> dict[str, Any]:
    return {name: value for name, value in each._asdict().items() if name != "time"} | each.time._asdict()


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
