"""What we promise of the service, and how it is kept: objectives, error budgets, trends. Pure: the caller counts.

Each objective is a share of something that may be bad: of the minutes, the requests, the reads, the runs, the mails.
So one budget is like another: what may be bad, less what was.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from fractions import Fraction
from math import floor
from typing import Final

LATENCY_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 10.0
"""The last bound of the latencies: of what took longer, nobody knows how long."""
QUANTILE: Final = Fraction(95, 100)
LAG: Final = timedelta(minutes=2)
"""A minute is written down just after its end; what is younger is not looked at."""


class Level(StrEnum):
    """What an objective is about, as people read it."""

    UPTIME = "uptime"
    LATENCY = "p95 latency"
    ERRORS = "error rate"
    CACHE = "cache hit ratio"
    JOBS = "job success"
    MAILS = "mail success"


class Period(StrEnum):
    """How far back it is looked at; the budget is the month's."""

    DAY = "1 day"
    WEEK = "7 days"
    MONTH = "30 days"


LENGTHS: Final[Mapping[Period, int]] = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 30}
"""In days of 24 hours."""
DAYS: Final = 2 * max(LENGTHS.values())
"""What is needed of the past: the longest period, and the one before it."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Less than the share `bad` of all may be bad; `noun` is one of the bad, `target` says it as people do."""

    bad: Fraction
    noun: str
    target: str


OBJECTIVES: Final[Mapping[Level, Objective]] = {
    Level.UPTIME: Objective(Fraction(1, 1000), "minute", "> 99.9 %"),
    Level.LATENCY: Objective(1 - QUANTILE, "slow request", "< 100 ms"),
    Level.ERRORS: Objective(Fraction(1, 1000), "error", "< 0.1 %"),
    Level.CACHE: Objective(Fraction(20, 100), "miss", "> 80 %"),
    Level.JOBS: Objective(Fraction(1, 100), "failed run", "> 99 %"),
    Level.MAILS: Objective(Fraction(2, 100), "failed mail", "> 98 %"),
}


@dataclass(frozen=True, slots=True)
class Count:
    """So many, and how many of them were bad."""

    all: int = 0
    bad: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.all + other.all, self.bad + other.bad)

    @property
    def bad_share(self) -> float | None:
        """None if there was nothing to be good or bad."""
        return self.bad / self.all if self.all else None


@dataclass(frozen=True, slots=True)
class Tally:
    """What was counted in a stretch of time, by level; `latencies` are requests along the bounds, then the slower."""

    counts: Mapping[Level, Count] = field(default_factory=dict)
    latencies: Sequence[int] = ()

    def of(self, level: Level) -> Count:
        """Nothing, if nothing was counted."""
        return self.counts.get(level, Count())


def total(tallies: Sequence[Tally]) -> Tally:
    """All of them together."""
    longest = max((len(tally.latencies) for tally in tallies), default=0)
    columns = ([*tally.latencies, *[0] * (longest - len(tally.latencies))] for tally in tallies)
    counts = {level: sum((tally.of(level) for tally in tallies), Count()) for level in Level}
    return Tally(counts, [sum(column) for column in zip(*columns, strict=True)])


def quantile(bounds: Sequence[float], counts: Sequence[int], share: Fraction) -> float | None:
    """Seconds in which that share of the requests was done; None if there were none.

    Within a bucket they are taken to lie evenly, and beyond the last bound at it: so does Prometheus's
    `histogram_quantile`, https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile.
    """
    rank = share * sum(counts)
    below, lower = 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * float((rank - below) / count)
        below, lower = below + count, bound
    return bounds[-1] if rank else None


def slow(bounds: Sequence[float], counts: Sequence[int]) -> Count:
    """The requests, and those that took longer than `LATENCY_SECONDS`, which is one of the bounds."""
    return Count(sum(counts), sum(counts[bisect_right(bounds, LATENCY_SECONDS) :]))


@dataclass(frozen=True, slots=True)
class Assessment:
    """How an objective was kept over a period.

    `value` and, of the period before, `before` are shares of one, of the latency seconds; None is for no data.
    """

    level: Level
    period: Period
    count: Count
    value: float | None
    before: float | None

    @property
    def objective(self) -> Objective:
        """What it is held to."""
        return OBJECTIVES[self.level]

    @property
    def met(self) -> bool | None:
        """None if there is no data."""
        return self.count.bad < self.allowed if self.count.all else None

    @property
    def allowed(self) -> Fraction:
        """The error budget: how many may be bad, not quite."""
        return self.objective.bad * self.count.all

    @property
    def budget_left(self) -> float | None:
        """The share of the budget that is left, 0 when it is used up; None if there is no data."""
        return max(0.0, float(1 - self.count.bad / self.allowed)) if self.count.all else None

    @property
    def gain(self) -> float | None:
        """By how much the value is better than that of the period before; below 0 for worse."""
        if self.value is None or self.before is None:
            return None
        return self.before - self.value if self.level in {Level.LATENCY, Level.ERRORS} else self.value - self.before


def assess(days: Sequence[Tally], bounds: Sequence[float]) -> list[Assessment]:
    """Every objective over every period; `days` are the last `DAYS`, the latest first."""
    assessments = []
    for level in Level:
        for period, length in LENGTHS.items():
            now, before = total(days[:length]), total(days[length : 2 * length])
            assessments.append(
                Assessment(level, period, now.of(level), value(level, now, bounds), value(level, before, bounds))
            )
    return assessments


def value(level: Level, tally: Tally, bounds: Sequence[float]) -> float | None:
    """What the objective is about: seconds of the latency, the bad share of errors, the good share of all others."""
    if level is Level.LATENCY:
        return quantile(bounds, tally.latencies, QUANTILE)
    bad = tally.of(level).bad_share
    return bad if bad is None or level is Level.ERRORS else 1 - bad


def end_of(until: date | None, now: datetime) -> datetime:
    """The end of that day (UTC), or of what is known for sure now, whichever is earlier: a whole minute."""
    known = (now - LAG).replace(second=0, microsecond=0)
    return min(known, datetime.combine(until, time(), UTC) + timedelta(days=1)) if until else known


def day_minutes(end: datetime, days_ago: int, first: datetime | None) -> int:
    """How many minutes the day had that ended so many times 24 hours before `end`, none before `first` counted."""
    ends = end - timedelta(days=days_ago)
    begins = max(ends - timedelta(days=1), first) if first else ends
    return max(0, floor((ends - begins) / timedelta(minutes=1)))
