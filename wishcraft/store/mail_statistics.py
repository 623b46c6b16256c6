"""Statistics on reminders and invitations of all shops: sent, failed and why; no addresses."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class FailedMails(NamedTuple):
    """Number of a shop's mails that failed with the same reason."""

    shop: str
    reason: str
    mails: int


class MailCounts(NamedTuple):
    """Numbers of sent and of failed mails; `failed` includes those whose address was refused."""

    sent: int
    failed: int


# A sent mail counts at the time of its try. One that is given up has waited since its last try: its day is that of the
# failure, as the report on the day of the try has not had it.
_MAILS: Final = " UNION ALL ".join(
    f"""
    SELECT shop_id, state, last_error,
        CASE WHEN state = 'sent' THEN coalesce(claimed_at, updated_at) ELSE updated_at END AS at FROM {table}
    """  # noqa: S608  ours
    for table in ("reminders", "invitations")
)
_HAS_FAILED: Final = "(state = 'failed' OR (state = 'suppressed' AND last_error IS NOT NULL))"
_COUNT: Final = text(f"""
    SELECT ceil(extract(epoch FROM CAST(:end AS timestamptz) - at) / 86400)::int - 1 AS days_ago,
        count(*) FILTER (WHERE state = 'sent'), count(*) FILTER (WHERE {_HAS_FAILED})
    FROM ({_MAILS}) mails
    WHERE at >= CAST(:end AS timestamptz) - :days * interval '24 hours' AND at < :end
    GROUP BY 1
""")  # noqa: S608  ours

_FAILURES: Final = text(f"""
    SELECT s.domain, coalesce(m.last_error, 'not known'), count(*) AS number
    FROM ({_MAILS}) m JOIN shops s ON s.id = m.shop_id
    WHERE {_HAS_FAILED} AND m.at >= :begin AND m.at < :end
    GROUP BY 1, 2 ORDER BY number DESC, 1, 2
""")  # noqa: S608  ours


async def count_days(session: AsyncSession, end: datetime, days: int) -> dict[int, MailCounts]:
    """Counts of the last `days` periods of 24 hours before `end`, by age in days (0 is the latest)."""
    rows = await session.execute(_COUNT, {"end": end, "days": days})
    return {days_ago: MailCounts(sent, failed) for days_ago, sent, failed in rows}


async def find_failures(session: AsyncSession, begin: datetime, end: datetime) -> list[FailedMails]:
    """Mails that failed from `begin` to before `end`, by shop and reason, most first."""
    rows = await session.execute(_FAILURES, {"begin": begin, "end": end})
    return [FailedMails._make(row) for row in rows]
