"""Service level objectives, error budgets and trends. Pure: the caller passes the counts.

Each objective limits the share of bad minutes, requests, reads, runs, mails or webhooks. Its error budget is the number
that may be bad, minus the number that was.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from fractions import Fraction
from math import floor
from typing import Final

from wishcraft.domain.mail_reputation import MIN_MAILS_TO_JUDGE

LATENCY_SECONDS: Final = 0.1
MAX_SECONDS: Final = 10.0
"""The last latency bound; how much longer a request took is not recorded."""
WEBHOOK_SECONDS: Final = 60
"""A webhook that is handled later than this after its receipt is late."""
QUANTILE: Final = Fraction(95, 100)
LAG: Final = timedelta(minutes=2)
"""A minute is recorded just after its end, so later minutes are excluded."""


class ServiceLevel(StrEnum):
    """Name of a service level indicator, as shown to people."""

    UPTIME = "uptime"
    LATENCY = "p95 latency"
    ERRORS = "error rate"
    CACHE = "cache hit ratio"
    JOBS = "job success"
    MAILS = "mail success"
    COMPLAINTS = "mail complaints"
    WEBHOOKS = "webhooks"


AS_BAD_SHARE: Final = frozenset({ServiceLevel.ERRORS, ServiceLevel.COMPLAINTS})
"""Levels whose value is the share of bad events; of the others, it is that of good ones."""
_OF_MAILS: Final = frozenset({ServiceLevel.MAILS, ServiceLevel.COMPLAINTS})
_MAIL_DAYS: Final = 40
"""Days for which all mails are stored. Later `cleanup-logs` deletes invitations, but none that was answered: what is
left would be better than it was. An invitation ends 14 days after its first try, its last one is up to 4 days later,
and it is deleted 30 days after its end.
"""


class Period(StrEnum):
    """Period of an assessment; the error budget is for 30 days."""

    DAY = "1 day"
    WEEK = "7 days"
    MONTH = "30 days"


LENGTHS: Final[Mapping[Period, int]] = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 30}
"""In days of 24 hours."""
MINUTES_TO_JUDGE: Final = 1440
"""Of a period must be known before an objective counts as met or missed: a day has every hour's load and every job."""
DAYS: Final = 2 * max(LENGTHS.values())
"""Days of history needed: the longest period and the one before it."""


@dataclass(frozen=True, slots=True)
class Objective:
    """Less than the share `bad` may be bad; `noun` names one bad event, `target` is for display.

    Fewer than `least` events are too few to judge.
    """

    bad: Fraction
    noun: str
    target: str
    least: int = 1


OBJECTIVES: Final[Mapping[ServiceLevel, Objective]] = {
    ServiceLevel.UPTIME: Objective(Fraction(1, 1000), "minute", "> 99.9 %"),
    ServiceLevel.LATENCY: Objective(1 - QUANTILE, "slow request", "< 100 ms"),
    ServiceLevel.ERRORS: Objective(Fraction(1, 1000), "error", "< 0.1 %"),
    ServiceLevel.CACHE: Objective(Fraction(20, 100), "miss", "> 80 %"),
    ServiceLevel.JOBS: Objective(Fraction(1, 100), "failed run", "> 99 %"),
    ServiceLevel.MAILS: Objective(Fraction(2, 100), "failed mail", "> 98 %"),
    ServiceLevel.COMPLAINTS: Objective(Fraction(1, 1000), "complaint", "< 0.1 %", MIN_MAILS_TO_JUDGE),
    ServiceLevel.WEBHOOKS: Objective(Fraction(1, 100), "late webhook", "> 99 %"),
}


@dataclass(frozen=True, slots=True)
class Count:
    """Number of events, and of bad ones among them."""

    all: int = 0
    bad: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.all + other.all, self.bad + other.bad)

    @property
    def bad_share(self) -> float | None:
        """The share of bad events; None without events."""
        return self.bad / self.all if self.all else None


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of a period, by level; `latencies` are requests by bucket: one for each bound, then the slower ones."""

    counts: Mapping[ServiceLevel, Count] = field(default_factory=dict)
    latencies: Sequence[int] = ()

    def of(self, level: ServiceLevel) -> Count:
        """The level's count; 0 events if there is none."""
        return self.counts.get(level, Count())


def total(tallies: Sequence[Tally]) -> Tally:
    """The sum of the tallies."""
    longest = max((len(tally.latencies) for tally in tallies), default=0)
    columns = ([*tally.latencies, *[0] * (longest - len(tally.latencies))] for tally in tallies)
    counts = {level: sum((tally.of(level) for tally in tallies), Count()) for level in ServiceLevel}
    return Tally(counts, [sum(column) for column in zip(*columns, strict=True)])


def quantile(bounds: Sequence[float], counts: Sequence[int], share: Fraction) -> float | None:
    """The latency in seconds that this share of the requests did not exceed; None without requests.

    Interpolates linearly within a bucket, and returns the last bound for slower requests, as Prometheus's
    `histogram_quantile` does: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile.
    """
    rank = share * sum(counts)
    below, lower = 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * float((rank - below) / count)
        below, lower = below + count, bound
    return bounds[-1] if rank else None


def slow(bounds: Sequence[float], counts: Sequence[int]) -> Count:
    """All requests, and as bad those slower than `LATENCY_SECONDS`, which is one of the bounds."""
    return Count(sum(counts), sum(counts[bisect_right(bounds, LATENCY_SECONDS) :]))


@dataclass(frozen=True, slots=True)
class Assessment:
    """An objective's result over a period.

    `value`, and `before` for the preceding period, are shares of 1, or seconds for the latency; None without data.
    `known` are the minutes of the period since the first recorded one; 0 if none was recorded.
    """

    level: ServiceLevel
    period: Period
    count: Count
    value: float | None
    before: float | None
    known: int = 0

    @property
    def is_early(self) -> bool:
        """Whether too little of the period is known to judge."""
        return 0 < self.known < MINUTES_TO_JUDGE

    @property
    def is_complete(self) -> bool:
        """Whether the whole period is known, or nothing says since when."""
        return self.known in {0, 1440 * LENGTHS[self.period]}

    @property
    def objective(self) -> Objective:
        """The level's objective."""
        return OBJECTIVES[self.level]

    @property
    def met(self) -> bool | None:
        """Whether the objective is met; None without data, or with too little."""
        return self.count.bad < self.allowed if self.count.all >= self.objective.least else None

    @property
    def is_too_few(self) -> bool:
        """Whether there are events, but too few to judge."""
        return 0 < self.count.all < self.objective.least

    @property
    def allowed(self) -> Fraction:
        """The error budget: the number of bad events must stay below it."""
        return self.objective.bad * self.count.all

    @property
    def budget_left(self) -> float | None:
        """The remaining share of the error budget, 0 when it is used up; None without data, or with too little."""
        return max(0.0, float(1 - self.count.bad / self.allowed)) if self.met is not None else None

    @property
    def gain(self) -> float | None:
        """Improvement over the preceding period; negative if worse, None without data."""
        if self.value is None or self.before is None or self.is_too_few:
            return None
        return (
            self.before - self.value
            if self.level in {ServiceLevel.LATENCY, *AS_BAD_SHARE}
            else self.value - self.before
        )


def assess(days: Sequence[Tally], bounds: Sequence[float]) -> list[Assessment]:
    """Assess every objective over every period; `days` are the last `DAYS` days, latest first."""
    assessments = []
    for level in ServiceLevel:
        for period, length in LENGTHS.items():
            now, earlier = total(days[:length]), days[length : 2 * length]
            assessments.append(
                Assessment(
                    level,
                    period,
                    now.of(level),
                    value(level, now, bounds),
                    _value_before(level, period, earlier, bounds),
                    now.of(ServiceLevel.UPTIME).all,
                )
            )
    return assessments


def _value_before(level: ServiceLevel, period: Period, days: Sequence[Tally], bounds: Sequence[float]) -> float | None:
    """The value over the preceding period, or over as much of it as is stored whole.

    Runs are deleted after a month: what is left of them is not the period.
    """
    if level in _OF_MAILS:
        days = days[: _MAIL_DAYS - LENGTHS[period]]
    is_deleted = level is ServiceLevel.JOBS and period is Period.MONTH and not days[-1].of(level).all
    return None if is_deleted else value(level, total(days), bounds)


def value(level: ServiceLevel, tally: Tally, bounds: Sequence[float]) -> float | None:
    """The indicator's value: seconds for latency, the bad share for `AS_BAD_SHARE`, the good share for all others."""
    if level is ServiceLevel.LATENCY:
        return quantile(bounds, tally.latencies, QUANTILE)
    bad = tally.of(level).bad_share
    return bad if bad is None or level in AS_BAD_SHARE else 1 - bad


def end_of(until: date | None, now: datetime, zone: tzinfo = UTC) -> datetime:
    """The end of that day in the time zone, or of the latest complete minute if that is earlier; in UTC."""
    known = (now - LAG).replace(second=0, microsecond=0)
    if until is None:
        return known
    return min(known, datetime.combine(until + timedelta(days=1), time(), zone).astimezone(UTC))


def day_minutes(end: datetime, days_ago: int, first: datetime | None) -> int:
    """Minutes, from `first` on, of the 24 hours that ended `days_ago` periods of 24 hours before `end`."""
    ends = end - timedelta(days=days_ago)
    begins = max(ends - timedelta(days=1), first) if first else ends
    return max(0, floor((ends - begins) / timedelta(minutes=1)))
