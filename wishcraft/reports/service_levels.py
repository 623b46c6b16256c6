"""Counts how the service was, day by day, and draws it: the figures that `domain.service_levels` judges."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from wishcraft.domain.service_levels import (
    DAYS,
    LATENCY_SECONDS,
    LENGTHS,
    OBJECTIVES,
    Count,
    Level,
    Period,
    Tally,
    day_minutes,
    slow,
    value,
)
from wishcraft.observability.metrics import LATENCY_BOUNDS
from wishcraft.reports.plots import Days, draw, image
from wishcraft.reports.service_level_text import said
from wishcraft.resources import Resources
from wishcraft.store import mail_statistics, service_minutes
from wishcraft.store.mail_statistics import MailCounts
from wishcraft.store.service_minutes import Day, TrafficCounts

_NONE: Final = Day(0, TrafficCounts(0, 0, [], 0, 0, 0, 0))


async def tally_days(resources: Resources, end: datetime, runs: Mapping[int, Count]) -> list[Tally]:
    """What was counted in the last `DAYS` times 24 hours before `end`, the latest first.

    `runs` are the jobs', which Prefect knows, by how many days ago.
    """
    async with resources.db.repeatable_read() as session:
        first = await service_minutes.find_first(session)
        served = await service_minutes.sum_days(session, end, DAYS)
        mailed = await mail_statistics.count_days(session, end, DAYS)
    return [
        _tally(
            day_minutes(end, ago, first),
            served.get(ago, _NONE),
            mailed.get(ago, MailCounts(0, 0)),
            runs.get(ago, Count()),
        )
        for ago in range(DAYS)
    ]


def _tally(expected: int, day: Day, mailed: MailCounts, runs: Count) -> Tally:
    served = day.served
    missed = served.misses + served.bypassed
    counts = {
        Level.UPTIME: Count(expected, max(0, expected - day.minutes)),
        Level.LATENCY: slow(LATENCY_BOUNDS, served.latencies),
        Level.ERRORS: Count(served.requests, served.errors),
        Level.CACHE: Count(served.hits + served.stale + missed, missed),
        Level.JOBS: runs,
        Level.MAILS: Count(mailed.sent + mailed.failed, mailed.failed),
    }
    return Tally(counts, served.latencies)


def draw_days(days: Sequence[Tally], end: datetime) -> str:
    """The last month day by day, as Markdown; `days` are as `tally_days` has them."""
    month = list(reversed(days[: LENGTHS[Period.MONTH]]))
    middles = [(end - timedelta(days=ago, hours=12)).date() for ago in reversed(range(len(month)))]
    panels = []
    for level in Level:
        values = [value(level, day, LATENCY_BOUNDS) for day in month]
        scale = 1000 if level is Level.LATENCY else 100
        panels.append(
            Days(
                title=f"{level} {OBJECTIVES[level].target}",
                latest=said(level, values[-1]),
                days=middles,
                values=[None if each is None else scale * each for each in values],
                unit="ms" if level is Level.LATENCY else "%",
                objective=scale * _objective(level),
                above=level not in {Level.LATENCY, Level.ERRORS},
            )
        )
    return image(draw(panels), "Day by day: " + ", ".join(Level))


def _objective(level: Level) -> float:
    bad = float(OBJECTIVES[level].bad)
    return {Level.LATENCY: LATENCY_SECONDS, Level.ERRORS: bad}.get(level, 1 - bad)
