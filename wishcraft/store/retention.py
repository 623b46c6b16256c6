"""Counts and deletes expired rows and payloads of all shops, by age.

Each kind's condition matches one index; a test checks the query plans.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.retention import Kind
from wishcraft.store.schema import Session
from wishcraft.store.schema.history import IS_COMPLIANCE

MAX_COUNTED: Final = 10_000_000
"""A count stops here, so that it stays within the statement timeout."""


class _Aging(NamedTuple):
    table: str
    moment: str
    """The column that a row's age is measured from; a row with NULL never expires."""
    condition: str = "true"
    key: str = "id"
    change: str = ""
    """The statement's beginning, if rows are not deleted but changed."""
    along: str = ""
    """A further deletion by the same statement, of what belongs to the rows, which it knows as `gone`."""

    @property
    def expire(self) -> str:
        """The beginning of the statement that ends the retention."""
        return self.change or f"DELETE FROM {self.table}"  # noqa: S608  constants alone


_IS_SETTLED: Final = "outcome <> 'dead'"
"""A dead letter is kept until a person has replayed or discarded it."""
_SETTLED_LINES: Final = """
    DELETE FROM unmatched_lines u USING gone WHERE u.shop_id = gone.shop_id AND u.order_id = gone.order_id
        AND (u.dismissed_at IS NOT NULL OR u.status IN ('cancelled', 'refunded'))
"""
"""A line item that waits to be matched is kept. Who matches or dismisses it lets its order begin anew."""
_NOT_REPLAYABLE: Final = """
    shop_id NOT IN (
        SELECT s.id FROM webhook_events w JOIN shops s ON s.domain = w.shop_domain
        WHERE (w.outcome = 'dead' OR (w.handled_at IS NULL AND w.received_at < :before))
            AND (w.topic LIKE 'orders/%' OR w.topic = 'refunds/create')
    )
"""
"""Without its order's state, a dead letter that is replayed would count as the newest webhook, and undo newer ones."""
_AGING: Final = {
    Kind.AUDIT: _Aging("audit_logs", "created_at", f"NOT ({IS_COMPLIANCE})"),
    Kind.COMPLIANCE: _Aging("audit_logs", "created_at", IS_COMPLIANCE),
    Kind.WEBHOOKS: _Aging("webhook_events", "handled_at", _IS_SETTLED),
    Kind.PAYLOADS: _Aging(
        "webhook_events",
        "handled_at",
        f"{_IS_SETTLED} AND payload IS NOT NULL",
        change="UPDATE webhook_events SET payload = NULL",
    ),
    Kind.ORDERS: _Aging("orders", "seen_at", _NOT_REPLAYABLE, key="ctid", along=_SETTLED_LINES),
    Kind.ANALYTICS: _Aging("analytics_events", "occurred_at"),
    Kind.VIEWS: _Aging("registry_views", "day"),
    Kind.MINUTES: _Aging("service_minutes", "minute", key="minute"),
    Kind.INVITATIONS: _Aging("invitations", "expires_at"),
    Kind.COUNTED: _Aging("counted_invitations", "expires_at"),
    Kind.IDEMPOTENCY: _Aging("idempotency_keys", "expires_at"),
    Kind.SESSIONS: _Aging("sessions", "expires_at"),
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


async def count_old(session: AsyncSession, kind: Kind, before: datetime) -> int:
    """Number of rows of this kind older than `before`, at most `MAX_COUNTED`."""
    query = text(_COUNT.format(_AGING[kind]))
    return int((await session.execute(query, {"before": before, "limit": MAX_COUNTED})).scalar_one())


async def delete_old(session: AsyncSession, kind: Kind, before: datetime, limit: int) -> int:
    """Delete up to `limit` rows (or their payloads) older than `before`, oldest first; returns their number.

    An order takes along its unmatched line items of which nothing is to be decided.

    Skips rows that another transaction has locked, so that two runs share the work without waiting.
    """
    aging = _AGING[kind]
    statement = f"{_DELETE.format(aging)} RETURNING {'*' if aging.along else '1'}"
    if aging.along:
        statement = f"WITH gone AS ({statement}), also AS ({aging.along}) SELECT FROM gone"
    return len((await session.execute(text(statement), {"before": before, "limit": limit})).all())


async def find_live_sessions(session: AsyncSession, ids: Sequence[str], now: datetime) -> set[tuple[int, str]]:
    """The (shop id, session id) pairs of those sessions that exist and have not expired."""
    query = select(Session.shop_id, Session.id).where(Session.id.in_(ids), Session.expires_at > now)
    return {(shop_id, session_id) for shop_id, session_id in await session.execute(query)}
