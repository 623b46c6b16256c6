"""Finds and deletes rows that are past their time, of all shops: age knows no tenant.

A kind's condition is written so that one index answers it; a test asks PostgreSQL.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.retention import Kind
from wishcraft.store.schema import Session
from wishcraft.store.schema.history import IS_COMPLIANCE

MOST_COUNTED: Final = 10_000_000
"""A count stops here: it is for people, and must not run into the time limit of a statement."""


class _Aging(NamedTuple):
    table: str
    moment: str
    """The column that says since when a row has been aging; NULL is never old."""
    condition: str = "true"
    key: str = "id"


_AGING: Final = {
    Kind.AUDIT: _Aging("audit_logs", "created_at", f"NOT ({IS_COMPLIANCE})"),
    Kind.COMPLIANCE: _Aging("audit_logs", "created_at", IS_COMPLIANCE),
    Kind.WEBHOOKS: _Aging("webhook_events", "handled_at"),
    Kind.ANALYTICS: _Aging("analytics_events", "occurred_at"),
    Kind.VIEWS: _Aging("registry_views", "day"),
    Kind.MINUTES: _Aging("service_minutes", "minute", key="minute"),
    Kind.IDEMPOTENCY: _Aging("idempotency_keys", "expires_at"),
    Kind.SESSIONS: _Aging("sessions", "expires_at"),
}
_COUNT: Final = """
SELECT count(*) FROM (
    SELECT FROM {0.table} WHERE {0.moment} < :before AND ({0.condition}) LIMIT :limit
) AS old
"""
# ARRAY(...) is evaluated once. As `IN (SELECT ... LIMIT ...)` the planner may choose to run the subquery again for each
# row, which takes other rows each time, more than the limit in all.
_DELETE: Final = """
DELETE FROM {0.table} WHERE {0.key} = ANY(ARRAY(
    SELECT {0.key} FROM {0.table} WHERE {0.moment} < :before AND ({0.condition})
    ORDER BY {0.moment} LIMIT :limit FOR UPDATE SKIP LOCKED
))
"""


async def count_old(session: AsyncSession, kind: Kind, before: datetime) -> int:
    """How many rows of this kind are older than `before`, up to `MOST_COUNTED`."""
    query = text(_COUNT.format(_AGING[kind]))
    return int((await session.execute(query, {"before": before, "limit": MOST_COUNTED})).scalar_one())


async def delete_old(session: AsyncSession, kind: Kind, before: datetime, limit: int) -> int:
    """Delete up to `limit` rows older than `before`, the oldest first; how many it were.

    Rows that another transaction has locked are passed over, so that two runs share the work and wait for nothing.
    """
    statement = text(_DELETE.format(_AGING[kind]) + "RETURNING 1")
    return len((await session.execute(statement, {"before": before, "limit": limit})).all())


async def find_live_sessions(session: AsyncSession, ids: Sequence[str], now: datetime) -> set[tuple[int, str]]:
    """Those of the sessions that exist and have not expired, each with its shop's id."""
    query = select(Session.shop_id, Session.id).where(Session.id.in_(ids), Session.expires_at > now)
    return {(shop_id, session_id) for shop_id, session_id in await session.execute(query)}
