"""Which reminders are due, and to whom. Pure: the caller passes the registries and the day."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from wishcraft.domain.addresses import normalise


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

MIN_REJECTED_TO_SUSPECT: Final = 5
"""Fewer rejected recipients in a run are never suspicious, whatever their share: a small shop may have three."""


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

    For a `day` before `today`, only reminders of which the same kind is still due on `today`.
    """
    due = {day + timedelta(days=left): kind for kind, days in DAYS_LEFT.items() for left in days}
    return {date: kind for date, kind in due.items() if day >= today or due_kind(date, today) is kind}


def too_many_rejected(rejected: int, sent: int) -> bool:
    """Whether so many recipients of a run were rejected that the mail server, not the addresses, must be at fault."""
    return rejected >= MIN_REJECTED_TO_SUSPECT and rejected > sent


def recipients(addresses: Iterable[str]) -> list[str]:
    """The normalised valid addresses, each once, sorted."""
    return sorted({normalised for address in addresses if (normalised := normalise(address))})
