"""Which reminders are due on a day. Pure: the caller passes the day."""

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo


class ReminderKind(StrEnum):
    """Kind of a reminder; the values are stored."""

    WEEK = "7_days"
    DAY = "1_day"


DAYS_LEFT: Final = {ReminderKind.WEEK: range(2, 8), ReminderKind.DAY: range(2)}
"""Days before the event on which each reminder is due, in the shop's time zone.

The largest number is the intended day, the others are for catching up: a missed reminder stays due until the next kind
takes over, and the last kind until the end of the event's day. Catching up is needed without outages too: the job runs
once a day in one time zone, so a change of its clocks may leave another time zone without a run on one day. The mail
names the days that are really left.
"""


def local_day(now: datetime, timezone: str) -> date:
    """The date at `now` (aware) in an IANA time zone.

    Raises:
        ValueError, ZoneInfoNotFoundError: The time zone does not exist.
    """
    return now.astimezone(ZoneInfo(timezone)).date()


def due_kind(event_date: date, today: date) -> ReminderKind | None:
    """The reminder due on `today` for an event on `event_date`, or None."""
    days_left = (event_date - today).days
    return next((kind for kind, days in DAYS_LEFT.items() if days_left in days), None)


def due_dates(day: date, today: date) -> dict[date, ReminderKind]:
    """The event dates with a reminder due on `day`, each with its kind: the inverse of `due_kind`.

    For a `day` before `today`, only reminders whose kind is still due on `today`.
    """
    due = {day + timedelta(days=left): kind for kind, days in DAYS_LEFT.items() for left in days}
    return {date: kind for date, kind in due.items() if day >= today or due_kind(date, today) is kind}
