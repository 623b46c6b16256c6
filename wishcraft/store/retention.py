"""Counts and deletes expired rows and payloads of all shops, by age.

Each kind's condition matches one index; a test checks the query plans.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.retention import DataKind
from wishcraft.store.people import NAMELESS
from wishcraft.store.schema import Session
from wishcraft.store.schema.history import IS_COMPLIANCE
from wishcraft.store.schema.webhooks import LAST_SAID

MAX_COUNTED: Final = 10_000_000
"""A count stops here, so that it stays within the statement timeout."""


class _Aging(NamedTuple):
    table: str
    moment: str
    """The column or expression that a row's age is measured from; a row with NULL never expires."""
    condition: str = "true"
    key: str = "id"
    change: str = ""
    """The statement's beginning, if rows are not deleted but changed."""
    along: tuple[str, ...] = ()
    """Further changes by the same statement, of what belongs to the rows, which they know as `gone`."""

    @property
    def expire(self) -> str:
        """The beginning of the statement that ends the retention."""
        return self.change or f"DELETE FROM {self.table}"  # noqa: S608  constants alone


_IS_SETTLED: Final = "outcome <> 'dead'"
"""A dead letter is kept until a person has replayed or discarded it."""
_SETTLED_LINES: Final = """
    DELETE FROM unmatched_lines u USING gone WHERE u.shop_id = gone.shop_id AND u.order_id = gone.order_id
        AND u.dismissed_at IS NULL AND u.status IN ('cancelled', 'refunded')
"""
"""A line item that waits to be matched is kept. A decision about it makes the row of its order again."""
_NOT_REPLAYABLE: Final = """
    shop_id NOT IN (
        SELECT s.id FROM webhook_events w JOIN shops s ON s.domain = w.shop_domain
        WHERE (w.outcome = 'dead' OR (w.handled_at IS NULL AND w.received_at < :before))
            AND (w.topic LIKE 'orders/%' OR w.topic = 'refunds/create')
    )
"""
"""Without its order's state, a dead letter that is replayed would count as the newest webhook, and undo newer ones."""
_DISMISSED_LINES: Final = f"""
    UPDATE unmatched_lines u SET {NAMELESS}
    FROM gone WHERE u.shop_id = gone.shop_id AND u.order_id = gone.order_id AND u.dismissed_at IS NOT NULL
"""  # noqa: S608  constants alone
"""A person's decision stays, for a webhook that comes years later; no name does."""
# With OFFSET, each row is looked up by its index, oldest first; otherwise the planner may join and sort all of them.
_UNWISHED: Final = """NOT EXISTS (
    SELECT FROM registry_items i WHERE i.shop_id = {0}.shop_id AND i.{1} = {0}.{1} OFFSET 0
)"""
_LEVELS: Final = """
    DELETE FROM inventory_levels l USING gone WHERE l.shop_id = gone.shop_id
        AND l.inventory_item_id = gone.inventory_item_id
"""
_AGING: Final = {
    DataKind.AUDIT: _Aging("audit_logs", "created_at", f"NOT ({IS_COMPLIANCE})"),
    DataKind.COMPLIANCE: _Aging("audit_logs", "created_at", IS_COMPLIANCE),
    DataKind.WEBHOOKS: _Aging("webhook_events", "handled_at", _IS_SETTLED),
    DataKind.PAYLOADS: _Aging(
        "webhook_events",
        "handled_at",
        f"{_IS_SETTLED} AND payload IS NOT NULL",
        change="UPDATE webhook_events SET payload = NULL",
    ),
    DataKind.ORDERS: _Aging("orders", "seen_at", _NOT_REPLAYABLE, key="ctid", along=(_SETTLED_LINES, _DISMISSED_LINES)),
    DataKind.PRODUCTS: _Aging(
        "product_versions", "updated_at", _UNWISHED.format("product_versions", "product_id"), key="ctid"
    ),
    DataKind.STOCK: _Aging(
        "inventory_items",
        LAST_SAID,
        _UNWISHED.format("inventory_items", "inventory_item_id"),
        key="ctid",
        along=(_LEVELS,),
    ),
    DataKind.ANALYTICS: _Aging("analytics_events", "occurred_at"),
    DataKind.VIEWS: _Aging("registry_views", "day"),
    DataKind.MINUTES: _Aging("service_minutes", "minute", key="minute"),
    DataKind.INVITATIONS: _Aging("invitations", "expires_at"),
    DataKind.COUNTED: _Aging("counted_invitations", "expires_at"),
    DataKind.MAILS: _Aging("deleted_mails", "expires_at", key="ctid"),
    DataKind.IDEMPOTENCY: _Aging("idempotency_keys", "expires_at"),
    DataKind.SESSIONS: _Aging("sessions", "expires_at"),
}
_COUNT: Final = """
SELECT count(*) FROM (
    SELECT FROM {0.table} WHERE {0.moment} < :before AND ({0.condition}) LIMIT :limit
) AS old
"""
# ARRAY(...) is evaluated once. With `IN (SELECT ... LIMIT ...)` the planner may run the subquery for each row, which
# locks other rows each time and deletes more than the limit.
_DELETE: Final = """
{0.expire} WHERE {0.key} = ANY(ARRAY(
    SELECT {0.key} FROM {0.table} WHERE {0.moment} < :before AND ({0.condition})
    ORDER BY {0.moment} LIMIT :limit FOR UPDATE SKIP LOCKED
))
"""


async def count_old(session: AsyncSession, kind: DataKind, before: datetime, most: int = MAX_COUNTED) -> int:
    """Number of rows of this kind older than `before`, at most `most`."""
    query = text(_COUNT.format(_AGING[kind]))
    return int((await session.execute(query, {"before": before, "limit": most})).scalar_one())


async def delete_old(session: AsyncSession, kind: DataKind, before: datetime, limit: int) -> int:
    """Delete up to `limit` rows (or their payloads) older than `before`, oldest first; returns their number.

    An order takes along its unmatched line items that need no decision, and the names of those that were
    dismissed; an inventory item takes along its levels.

    Skips rows that another transaction has locked, so that two runs share the work without waiting.
    """
    aging = _AGING[kind]
    statement = f"{_DELETE.format(aging)} RETURNING {'*' if aging.along else '1'}"
    if aging.along:
        also = "".join(f", also_{place} AS ({change})" for place, change in enumerate(aging.along))
        statement = f"WITH gone AS ({statement}){also} SELECT FROM gone"
    return len((await session.execute(text(statement), {"before": before, "limit": limit})).all())


async def find_live_sessions(session: AsyncSession, ids: Sequence[str], now: datetime) -> set[tuple[int, str]]:
    """The (shop id, session id) pairs of those sessions that exist and have not expired."""
    query = select(Session.shop_id, Session.id).where(Session.id.in_(ids), Session.expires_at > now)
    return {(shop_id, session_id) for shop_id, session_id in await session.execute(query)}
