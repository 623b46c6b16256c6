"""Who is owed a reminder, which, and when. Pure: the caller brings the registries and the day."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from wishcraft.domain.addresses import normalise


class ReminderKind(StrEnum):
    """Which reminder of an event it is; the values are stored."""

    WEEK = "7_days"
    DAY = "1_day"


DAYS_LEFT: Final = {ReminderKind.WEEK: range(2, 8), ReminderKind.DAY: range(2)}
"""How many days before its event each reminder is owed; a day is the shop's own.

The first of these days is the one that it is meant for, the others are for catching up: a reminder that was missed
stays owed until the next one takes over, and the last one until the event's day is over. That day is not only for
outages: the job runs once a day in one time zone, and where that zone's clocks change, another zone's calendar may see
no run on one of its days. What the mail says follows the days that are really left.
"""

MIN_REJECTED_TO_SUSPECT: Final = 5
"""So many refused recipients of a run are not yet too many, whatever their share: a small shop may have three."""


def local_day(now: datetime, timezone: str) -> date:
    """The day that it is at `now` (aware) in an IANA time zone.

    Raises:
        ValueError, ZoneInfoNotFoundError: There is no such time zone.
    """
    return now.astimezone(ZoneInfo(timezone)).date()


def due_kind(event_date: date, today: date) -> ReminderKind | None:
    """The reminder owed on `today` for an event on `event_date`; None if there is none."""
    days_left = (event_date - today).days
    return next((kind for kind, days in DAYS_LEFT.items() if days_left in days), None)


def due_dates(day: date, today: date) -> dict[date, ReminderKind]:
    """Each date for whose events a reminder is owed on `day`, and which: `due_kind` the other way round.

    Of a day before `today` only what is owed still: nobody is reminded of what is over, or of a week that is a day.
    """
    owed = {day + timedelta(days=left): kind for kind, days in DAYS_LEFT.items() for left in days}
    return {date: kind for date, kind in owed.items() if day >= today or due_kind(date, today) is kind}


def too_many_rejected(refused: int, sent: int) -> bool:
    """Whether a run had so many recipients refused that rather the mail server is wrong than their addresses."""
    return refused >= MIN_REJECTED_TO_SUSPECT and refused > sent


def recipients(addresses: Iterable[str]) -> list[str]:
    """Whom to write to of a registry's registrants: each mailbox once, and none that mail cannot go to."""
    return sorted({spelling for address in addresses if (spelling := normalise(address))})
