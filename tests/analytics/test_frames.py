import pandas as pd
import pytest

from wishcraft.analytics import add, local_month, local_week

NEW_YORK, BERLIN, TOKYO = "America/New_York", "Europe/Berlin", "Asia/Tokyo"


def moments(*texts: str) -> pd.Series:
    return pd.Series(pd.to_datetime(list(texts), utc=True)).astype("datetime64[us, UTC]")


@pytest.mark.parametrize(
    ("moment", "timezone", "monday"),
    [
        ("2026-03-02 04:59:59", NEW_YORK, "2026-02-23"),  # winter: midnight is at 5 in UTC
        ("2026-03-02 05:00:00", NEW_YORK, "2026-03-02"),
        ("2026-03-09 03:59:59", NEW_YORK, "2026-03-02"),  # the clocks went forward on Sunday: at 4
        ("2026-03-09 04:00:00", NEW_YORK, "2026-03-09"),
        ("2026-11-02 04:59:59", NEW_YORK, "2026-10-26"),  # and back: this week has an hour more
        ("2026-11-02 05:00:00", NEW_YORK, "2026-11-02"),
        ("2026-03-29 22:00:00", BERLIN, "2026-03-30"),
        ("2026-03-29 21:59:59", BERLIN, "2026-03-23"),
        ("2026-03-01 15:00:00", TOKYO, "2026-03-02"),
        ("1969-12-28 23:59:59", "UTC", "1969-12-22"),
    ],
)
def test_week_begins_on_monday_at_midnight_in_the_shops_time_zone(moment: str, timezone: str, monday: str) -> None:
    assert local_week(moments(moment), pd.Series([timezone])).tolist() == [pd.Timestamp(monday)]


def test_each_row_has_the_month_of_its_own_time_zone() -> None:
    times = moments("2026-02-28 23:30", "2026-02-28 23:30", "2026-03-01 04:30", "2026-03-01 05:00")
    zones = pd.Series([TOKYO, BERLIN, NEW_YORK, NEW_YORK], dtype="category")
    times.index = zones.index = pd.Index([7, 5, 3, 1])
    expected = pd.to_datetime(["2026-03-01", "2026-03-01", "2026-02-01", "2026-03-01"]).astype("datetime64[s]")
    pd.testing.assert_series_equal(local_month(times, zones), pd.Series(expected, times.index))


def test_no_moments_give_empty_weeks_and_months() -> None:
    nothing, nowhere = moments(), pd.Series(dtype="str")
    assert local_week(nothing, nowhere).dtype == local_month(nothing, nowhere).dtype == "datetime64[s]"


def test_counts_of_chunks_are_summed_by_index() -> None:
    index = ["shop", "week"]
    first = pd.DataFrame({"shop": ["b", "a"], "week": [1, 1], "visits": [2, 3]}).set_index(index)
    second = pd.DataFrame({"shop": ["a", "a"], "week": [1, 2], "visits": [10, 20]}).set_index(index)
    assert add([first, second])["visits"].to_dict() == {("a", 1): 13, ("a", 2): 20, ("b", 1): 2}
    assert add(part for part in [first]).index.names == index
    assert add([]).empty
