"""Statistics on reminders of all shops: sent, failed and why; no addresses."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class FailedMails(NamedTuple):
    """Number of a shop's failed reminders with the same reason."""

    shop: str
    reason: str
    mails: int


class MailCounts(NamedTuple):
    """Numbers of sent and of failed reminders; `failed` includes those whose address was rejected."""

    sent: int
    failed: int


_COUNT: Final = text("""
    SELECT ceil(extract(epoch FROM CAST(:end AS timestamptz) - updated_at) / 86400)::int - 1 AS days_ago,
        count(*) FILTER (WHERE state = 'sent'),
        count(*) FILTER (WHERE state = 'failed' OR (state = 'suppressed' AND last_error IS NOT NULL))
    FROM reminders
    WHERE updated_at >= CAST(:end AS timestamptz) - :days * interval '24 hours' AND updated_at < :end
    GROUP BY 1
""")

_FAILURES: Final = text("""
    SELECT s.domain, coalesce(r.last_error, 'not known'), count(*) AS mails
    FROM reminders r JOIN shops s ON s.id = r.shop_id
    WHERE r.state = 'failed' AND r.updated_at >= :begin AND r.updated_at < :end
    GROUP BY 1, 2 ORDER BY mails DESC, 1, 2
""")


async def count_days(session: AsyncSession, end: datetime, days: int) -> dict[int, MailCounts]:
    """Counts of the last `days` periods of 24 hours before `end`, by age in days (0 is the latest)."""
    rows = await session.execute(_COUNT, {"end": end, "days": days})
    return {days_ago: MailCounts(sent, failed) for days_ago, sent, failed in rows}


async def find_failures(session: AsyncSession, begin: datetime, end: datetime) -> list[FailedMails]:
    """Failed reminders from `begin` to before `end`, by shop and reason, most first."""
    rows = await session.execute(_FAILURES, {"begin": begin, "end": end})
    return [FailedMails._make(row) for row in rows]
