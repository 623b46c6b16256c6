"""Statistics on webhooks of all shops: how many were handled in time."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.webhooks import COMPLIANCE_TOPICS


class WebhookCounts(NamedTuple):
    """Numbers of webhooks, and of those among them that were late: handled too late, dead letters, or waiting still."""

    all: int
    late: int


_COUNT: Final = text("""
    SELECT ceil(extract(epoch FROM CAST(:end AS timestamptz) - moment) / 86400)::int - 1 AS days_ago, count(*),
        count(*) FILTER (WHERE is_waiting OR outcome IN ('dead', 'discarded') OR seconds > :seconds)
    FROM (
        SELECT handled_at AS moment, false AS is_waiting, outcome,
            extract(epoch FROM handled_at - received_at) AS seconds
        FROM webhook_events
        WHERE handled_at >= CAST(:end AS timestamptz) - :days * interval '24 hours' AND handled_at < :end
            AND topic <> ALL(:without)
        UNION ALL
        SELECT received_at, true, NULL, NULL FROM webhook_events
        WHERE handled_at IS NULL AND received_at >= CAST(:end AS timestamptz) - :days * interval '24 hours'
            AND received_at < CAST(:end AS timestamptz) - :seconds * interval '1 second' AND topic <> ALL(:without)
    ) w GROUP BY 1
""")


async def count_days(session: AsyncSession, end: datetime, days: int, seconds: int) -> dict[int, WebhookCounts]:
    """Counts of the last `days` periods of 24 hours before `end`, by age in days (0 is the latest).

    A webhook counts when it was handled, or when it was received if it is not; it is late after `seconds`.
    Those about privacy are left out: an erasure takes as long as there is to erase.
    """
    parameters = {"end": end, "days": days, "seconds": seconds, "without": list(COMPLIANCE_TOPICS)}
    rows = await session.execute(_COUNT, parameters)
    return {days_ago: WebhookCounts(number, late) for days_ago, number, late in rows}
