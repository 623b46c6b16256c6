"""Reads a question as a person puts it, in a form or in Python: what makes no sense is refused, with what to do."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from wishcraft.analytics.reader import ReportFilter
from wishcraft.domain.periods import Days
from wishcraft.domain.registries import EventType
from wishcraft.errors import QuestionRefused

Names = Sequence[str] | str | None
"""Several names, or one."""
Day = date | str | None
"""A date, or one as 2026-03-14."""


def parse_filter(shops: Names = (), event_types: Names = (), first: Day = None, last: Day = None) -> ReportFilter:
    """What is asked about.

    Raises:
        QuestionRefused: There is no such event type or day, or the first day is after the last.
    """
    kinds = [one_of("event type", each, EventType) for each in _several(event_types)]
    return ReportFilter(_several(shops), kinds, days(first, last))


def days(first: Day, last: Day) -> Days:
    """From the first day to the last.

    Raises:
        QuestionRefused: One is no day, or the first is after the last.
    """
    try:
        return Days(day(first), day(last))
    except ValueError as error:
        raise QuestionRefused(str(error)) from None


def day(given: Day) -> date | None:
    """The date.

    Raises:
        QuestionRefused: The text names none.
    """
    try:
        found = date.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        raise QuestionRefused(f"there is no day {given!r}: write it as 2026-03-14") from None
    return found.date() if isinstance(found, datetime) else found  # such as a Timestamp of pandas


def one_of(what: str, given: str, known: Iterable[str]) -> str:
    """`given`, if it is known.

    Raises:
        QuestionRefused: It is not; the message lists what is.
    """
    names = [str(each) for each in known]
    if given not in names:
        raise QuestionRefused(f"there is no {what} {given!r}: there are {', '.join(names)}")
    return given


def within(what: str, given: int, most: int) -> int:
    """`given`, if it is from 1 to `most`.

    Raises:
        QuestionRefused: It is not.
    """
    if not 1 <= given <= most:
        raise QuestionRefused(f"{what} must be from 1 to {most}, not {given}")
    return given


def _several(names: Names) -> list[str]:
    if isinstance(names, str):
        return [str(names)]
    return [] if names is None else [str(each) for each in names]
