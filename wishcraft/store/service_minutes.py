"""Queries about service minutes: one row for each minute, to which every API process adds its counts."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema import ServiceMinute


class BadMinute(NamedTuple):
    """A minute (UTC) with 5xx responses."""

    minute: datetime
    errors: int
    requests: int


class TrafficCounts(NamedTuple):
    """Counts of one process in a minute, or of all in a day; `latencies` as in `ServiceMinute.latencies`."""

    requests: int
    errors: int
    latencies: Sequence[int]
    hits: int
    stale: int
    misses: int
    bypassed: int


class Minute(NamedTuple):
    """Counts of one process in a minute (UTC); `able` is whether it could serve registries."""

    minute: datetime
    able: bool
    served: TrafficCounts


class Day(NamedTuple):
    """Sums of a day: minutes in which at least one process could serve, and the counts of all."""

    minutes: int
    served: TrafficCounts


_ADD: Final = text("""
INSERT INTO service_minutes AS m (minute, served, requests, errors, latencies, hits, stale, misses, bypassed)
VALUES (:minute, :able, :requests, :errors, :latencies, :hits, :stale, :misses, :bypassed)
ON CONFLICT (minute) DO UPDATE SET
    served = m.served OR excluded.served,
    requests = m.requests + excluded.requests,
    errors = m.errors + excluded.errors,
    latencies = ARRAY(
        SELECT coalesce(a, 0) + coalesce(b, 0)
        FROM unnest(m.latencies, excluded.latencies) WITH ORDINALITY AS both_of (a, b, place) ORDER BY place
    ),
    hits = m.hits + excluded.hits,
    stale = m.stale + excluded.stale,
    misses = m.misses + excluded.misses,
    bypassed = m.bypassed + excluded.bypassed
""")
_OF_DAYS: Final = """
    WITH of_days AS (
        SELECT (extract(epoch FROM CAST(:end AS timestamptz) - minute)::bigint - 1) / 86400 AS days_ago, m.*
        FROM service_minutes m WHERE minute >= CAST(:end AS timestamptz) - :days * interval '24 hours' AND minute < :end
    )
"""
_SUM: Final = text(
    f"""{_OF_DAYS}
    SELECT days_ago, count(*) FILTER (WHERE served), sum(requests)::bigint, sum(errors)::bigint, sum(hits)::bigint,
        sum(stale)::bigint, sum(misses)::bigint, sum(bypassed)::bigint
    FROM of_days GROUP BY days_ago
    """  # noqa: S608  constants alone
)
_SUM_LATENCIES: Final = text(
    f"""{_OF_DAYS}
    SELECT days_ago, array_agg(total ORDER BY place) FROM (
        SELECT days_ago, place, sum(each)::bigint AS total
        FROM of_days, unnest(latencies) WITH ORDINALITY AS of_minute (each, place) GROUP BY days_ago, place
    ) AS sums GROUP BY days_ago
    """  # noqa: S608  constants alone
)


async def add(session: AsyncSession, minutes: Sequence[Minute]) -> None:
    """Add one process's counts to the rows of these minutes."""
    # Ordered by time, so that two processes cannot deadlock.
    rows = [
        {"minute": each.minute, "able": each.able, **each.served._asdict()}
        for each in sorted(minutes, key=lambda minute: minute.minute)
    ]
    await session.execute(_ADD, rows)


async def find_first(session: AsyncSession) -> datetime | None:
    """The first recorded minute, or None."""
    return (await session.execute(select(func.min(ServiceMinute.minute)))).scalar_one()


async def sum_days(session: AsyncSession, end: datetime, days: int) -> dict[int, Day]:
    """Sums of the last `days` periods of 24 hours before `end`, by age in days; 0 is the latest. Omits empty days."""
    period = {"end": end, "days": days}
    latencies = {days_ago: each for days_ago, each in await session.execute(_SUM_LATENCIES, period)}  # noqa: C416  rows are no pairs
    return {
        days_ago: Day(minutes, TrafficCounts(requests, errors, latencies[days_ago], hits, stale, misses, bypassed))
        for days_ago, minutes, requests, errors, hits, stale, misses, bypassed in await session.execute(_SUM, period)
    }


async def find_worst(session: AsyncSession, begin: datetime, end: datetime, limit: int) -> list[BadMinute]:
    """The minutes with errors from `begin` to before `end`, most errors first."""
    query = (
        select(ServiceMinute.minute, ServiceMinute.errors, ServiceMinute.requests)
        .where(ServiceMinute.minute >= begin, ServiceMinute.minute < end, ServiceMinute.errors > 0)
        .order_by(ServiceMinute.errors.desc(), ServiceMinute.minute)
        .limit(limit)
    )
    return [BadMinute(*row) for row in await session.execute(query)]
