from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import pytest

from wishcraft.domain.reminders import DAYS_LEFT, ReminderKind, due_dates, due_kind, local_day

EVENT = date(2026, 6, 20)


@pytest.mark.parametrize(
    ("days_left", "kind"),
    [
        (8, None),
        (7, ReminderKind.WEEK),
        (2, ReminderKind.WEEK),
        (1, ReminderKind.DAY),
        (0, ReminderKind.DAY),
        (-1, None),
    ],
)
def test_a_reminder_is_due_from_its_day_until_the_next_kind_takes_over(
    days_left: int, kind: ReminderKind | None
) -> None:
    assert due_kind(EVENT, EVENT - timedelta(days_left)) is kind


def test_due_dates_is_the_inverse_of_due_kind() -> None:
    today = date(2026, 2, 26)  # the days ahead cross the end of a month
    around = [today + timedelta(days) for days in range(-400, 400)]
    assert due_dates(today, today) == {day: kind for day in around if (kind := due_kind(day, today))}


def test_a_past_day_keeps_only_reminders_that_are_still_due() -> None:
    day = date(2026, 3, 10)
    for today in (day + timedelta(days=after) for after in range(-3, 10)):
        still = {event: kind for event, kind in due_dates(day, day).items() if due_kind(event, today) is kind}
        assert due_dates(day, today) == (still if today > day else due_dates(day, day))
    assert due_dates(day, day + timedelta(days=8)) == {}


def test_the_kinds_cover_each_day_exactly_once() -> None:
    days = sorted(day for due in DAYS_LEFT.values() for day in due)
    assert days == list(range(8))


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Pacific/Kiritimati", date(2026, 3, 15)),  # the date line's west: UTC+14
        ("Asia/Tokyo", date(2026, 3, 14)),
        ("America/New_York", date(2026, 3, 14)),
        ("Pacific/Pago_Pago", date(2026, 3, 13)),  # its east: UTC-11
    ],
)
def test_the_local_day_depends_on_the_time_zone(zone: str, day: date) -> None:
    assert local_day(datetime(2026, 3, 14, 10, 30, tzinfo=UTC), zone) == day


@pytest.mark.parametrize("moment", ["2026-03-08T06:59:59+00:00", "2026-03-08T07:00:00+00:00"])
def test_the_local_day_is_right_around_a_skipped_hour(moment: str) -> None:
    assert local_day(datetime.fromisoformat(moment), "America/New_York") == date(2026, 3, 8)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", ""])
def test_an_invalid_time_zone_is_refused(zone: str) -> None:
    with pytest.raises((ValueError, ZoneInfoNotFoundError)):
        local_day(datetime(2026, 3, 14, tzinfo=UTC), zone)


def ten_o_clock(year: int) -> list[datetime]:
    """When the job runs: at ten in New York, every day of the year and ten more."""
    first = datetime(year, 1, 1, 10, tzinfo=ZoneInfo("America/New_York"))
    return [(first + timedelta(days)).astimezone(UTC) for days in range(-10, 376)]


def test_every_event_of_a_year_with_clock_changes_gets_both_reminders() -> None:
    runs, zones_by_days = ten_o_clock(2026), dict[tuple[date, ...], list[str]]()
    for zone in sorted(zone for zone in available_timezones() if "/" in zone and "Etc" not in zone):
        zones_by_days.setdefault(tuple(local_day(run, zone) for run in runs), []).append(zone)
    events = [date(2026, 1, 1) + timedelta(day) for day in range(365)]
    for days, zones in zones_by_days.items():
        assert all(earlier <= later for earlier, later in pairwise(days)), zones
        due = Counter((event, kind) for event, kind in {pair for day in days for pair in due_dates(day, day).items()})
        assert all(due[event, kind] == 1 for event in events for kind in ReminderKind), zones
