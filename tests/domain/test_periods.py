from datetime import UTC, date, datetime

import pytest

from wishcraft.domain.periods import Days, last_weeks


def test_days_begin_and_end_at_midnight_in_the_shops_time_zone() -> None:
    begin, end = Days(date(2026, 3, 28), date(2026, 3, 29)).moments("Europe/Paris")
    assert begin == datetime(2026, 3, 27, 23, tzinfo=UTC)
    assert end == datetime(2026, 3, 29, 22, tzinfo=UTC)  # clocks went forward on that day


def test_unbounded_days_have_no_start_or_end() -> None:
    assert Days().moments("UTC") == (None, None)
    assert Days(last=date(2026, 3, 1)).moments("UTC") == (None, datetime(2026, 3, 2, tzinfo=UTC))


def test_the_first_day_cannot_be_after_the_last() -> None:
    assert Days(date(2026, 3, 1), date(2026, 3, 1))
    with pytest.raises(ValueError, match="2026-03-02, is after the last, 2026-03-01"):
        Days(date(2026, 3, 2), date(2026, 3, 1))


@pytest.mark.parametrize("today", [date(2026, 3, 9), date(2026, 3, 12), date(2026, 3, 15)])
def test_the_last_weeks_begin_on_a_monday_and_include_the_current_week(today: date) -> None:
    assert last_weeks(today, 1) == Days(date(2026, 3, 9), today)
    assert last_weeks(today, 3) == Days(date(2026, 2, 23), today)
