"""The filter of a report, parsed from a form or from Python; invalid values are refused with the valid ones."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from operator import index
from typing import Final, Literal

from wishcraft.domain.periods import Days
from wishcraft.domain.registries import EventType
from wishcraft.errors import QueryRefused

TableName = Literal["registries", "items", "purchases", "events", "reminders"]
"""The tables that analysts read."""
Names = Sequence[str] | str | None
"""Several names, or one."""
Day = date | str | None
"""A date, or a text such as 2026-03-14."""

FIRST_DAY: Final = date(1900, 1, 1)
LAST_DAY: Final = date(2999, 12, 31)
"""Far from the ends of Python's calendar, so that the weeks around a day exist."""


@dataclass(frozen=True, slots=True)
class ReportFilter:
    """The registries of a report, or the events on them: by shop, event type (empty: all) and days."""

    shops: Sequence[str] = ()
    event_types: Sequence[str] = ()
    days: Days = field(default_factory=Days)


def parse_filter(shops: Names, event_types: Names, first: Day = None, last: Day = None) -> ReportFilter:
    """Parse a filter. The shops are checked when the report reads them.

    Raises:
        QueryRefused: There is no such event type or day, or the first day is after the last.
    """
    parsed_types = [parse_choice("event type", event_type, EventType) for event_type in _to_list(event_types)]
    return ReportFilter(_to_list(shops), parsed_types, parse_days(first, last))


def parse_days(first: Day, last: Day) -> Days:
    """Parse the first and last day.

    Raises:
        QueryRefused: One of them is not a day, or the first is after the last.
    """
    try:
        return Days(parse_day(first), parse_day(last))
    except ValueError as error:
        raise QueryRefused(str(error)) from None


def parse_day(value: Day) -> date | None:
    """Parse a day of a filter; None stays None.

    Raises:
        QueryRefused: The text is not a day, or the day is not from `FIRST_DAY` to `LAST_DAY`.
    """
    if value is None:
        return None
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value
        day = day.date() if isinstance(day, datetime) else day  # such as a Timestamp of pandas
    except ValueError:
        day = None
    if not isinstance(day, date) or isinstance(day, datetime):  # the date of a NaT of pandas is a NaT
        raise QueryRefused(f"there is no day {value!r}: write it as 2026-03-14")
    if not FIRST_DAY <= day <= LAST_DAY:
        raise QueryRefused(f"the day {day} is out of range: choose one from {FIRST_DAY} to {LAST_DAY}")
    return day


def parse_choice(what: str, value: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of the choices.

    Raises:
        QueryRefused: It is not; the message lists the choices.
    """
    names = [str(choice) for choice in choices]
    if value not in names:
        raise QueryRefused(f"there is no {what} {value!r}: there are {', '.join(names)}")
    return value


def require_range(what: str, value: int, maximum: int) -> int:
    """Return `value` if it is a whole number, also one of NumPy, from 1 to `maximum`.

    Raises:
        QueryRefused: It is not.
    """
    try:
        number = index(value)
    except TypeError:
        number = 0
    if not 1 <= number <= maximum:
        raise QueryRefused(f"{what} must be a whole number from 1 to {maximum}, not {value!r}")
    return number


def _to_list(names: Names) -> list[str]:
    if isinstance(names, str):
        return [str(names)]
    if names is None:
        return []
    listed = list(names) if isinstance(names, Iterable) and not isinstance(names, bytes) else [names]
    for name in listed:
        if not isinstance(name, str):
            raise QueryRefused(f"{name!r} is not a name: write a text, or a list of texts")
    return [str(name) for name in listed]
