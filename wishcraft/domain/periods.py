"""Periods of whole days, from midnight to midnight in a shop's time zone. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Days:
    """From the first day to the last, both inclusive; None is unbounded."""

    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        if self.first and self.last and self.first > self.last:
            raise ValueError(f"the first day, {self.first}, is after the last, {self.last}")

    def moments(self, timezone: str) -> tuple[datetime | None, datetime | None]:
        """Start (inclusive) and end (exclusive) in the time zone; None where unbounded."""
        zone = ZoneInfo(timezone)
        begin = datetime.combine(self.first, time(), zone) if self.first else None
        end = datetime.combine(self.last + timedelta(days=1), time(), zone) if self.last else None
        return begin, end


def last_weeks(today: date, weeks: int) -> Days:
    """The current week and the ones before it, `weeks` in total: from a Monday to `today`."""
    return Days(today - timedelta(days=today.weekday(), weeks=weeks - 1), today)
