from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from wishcraft.domain.service_levels import (
    DAYS,
    LENGTHS,
    Assessment,
    Count,
    Period,
    ServiceLevel,
    Tally,
    assess,
    day_minutes,
    end_of,
    quantile,
    slow,
    total,
)
from wishcraft.observability.metrics import LATENCY_BOUNDS
from wishcraft.reports.service_levels import format_budget, format_trend, format_value, overview, rows, verdict

BOUNDS = (0.05, 0.1, 0.25)
NOW = datetime(2026, 3, 14, 10, 0, 30, tzinfo=UTC)
GOOD = {
    ServiceLevel.UPTIME: Count(1440, 0),
    ServiceLevel.LATENCY: Count(100, 0),
    ServiceLevel.ERRORS: Count(100, 0),
    ServiceLevel.CACHE: Count(100, 5),
    ServiceLevel.JOBS: Count(100, 0),
    ServiceLevel.MAILS: Count(100, 1),
    ServiceLevel.COMPLAINTS: Count(2000, 1),
    ServiceLevel.WEBHOOKS: Count(1000, 9),
}


def month(level: ServiceLevel, count: Count, value: float | None = 0.5, before: float | None = None) -> Assessment:
    return Assessment(level, Period.MONTH, count, value, before)


def judged(*changed: dict[ServiceLevel, Count]) -> list[Assessment]:
    """A good service, but for what changed on the last days, the latest first."""
    days = [Tally(GOOD | (changed[ago] if ago < len(changed) else {}), [95, 5, 0, 0]) for ago in range(DAYS)]
    return assess(days, BOUNDS)


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([10, 0, 0, 0], Fraction(1, 2), 0.025),  # evenly from 0 to the first bound
        ([10, 10, 0, 0], Fraction(3, 4), 0.075),
        ([0, 0, 20, 0], Fraction(95, 100), 0.2425),
        ([95, 0, 5, 0], Fraction(95, 100), 0.05),  # the rank is the bucket's last
        ([1, 0, 0, 99], Fraction(95, 100), 0.25),  # beyond the last bound: it
        ([0, 0, 0, 0], Fraction(95, 100), None),
        ([], Fraction(95, 100), None),
    ],
)
def test_a_quantile_lies_within_its_bucket_as_prometheus_has_it(
    counts: list[int], share: Fraction, expected: float | None
) -> None:
    assert quantile(BOUNDS, counts, share) == (expected if expected is None else pytest.approx(expected))


def test_a_request_of_exactly_the_limit_is_not_slow() -> None:
    assert slow(BOUNDS, [1, 2, 4, 8]) == Count(15, 12)


def test_days_add_up_also_if_one_has_no_latencies() -> None:
    both = total([Tally({ServiceLevel.JOBS: Count(3, 1)}, [1, 2]), Tally({ServiceLevel.JOBS: Count(4, 0)})])
    assert both.of(ServiceLevel.JOBS) == Count(7, 1)
    assert list(both.latencies) == [1, 2]


@pytest.mark.parametrize(("bad", "met"), [(0, True), (9, True), (10, False), (11, False)])
def test_an_objective_is_met_while_less_is_bad_than_its_budget(bad: int, met: bool) -> None:
    assert month(ServiceLevel.ERRORS, Count(10_000, bad)).met is met


@pytest.mark.parametrize(
    ("level", "count", "words"),
    [
        (ServiceLevel.UPTIME, Count(43_200, 31), "12 more minutes allowed (of 43)"),
        (ServiceLevel.UPTIME, Count(43_200, 50), "used up: 50 minutes, 43 allowed"),
        (ServiceLevel.ERRORS, Count(2_500_000, 1000), "1,499 more errors allowed (of 2,499)"),
        (ServiceLevel.CACHE, Count(10, 1), "no more misses allowed (of 1)"),
        (ServiceLevel.CACHE, Count(10, 2), "used up: 2 misses, 1 allowed"),
        (ServiceLevel.CACHE, Count(12, 1), "1 more miss allowed (of 2)"),
        (ServiceLevel.CACHE, Count(12, 2), "no more misses allowed (of 2)"),
        (ServiceLevel.MAILS, Count(100, 0), "1 more failed mail allowed (of 1)"),
        (ServiceLevel.JOBS, Count(50, 0), "untouched: 0 failed runs, none allowed"),
        (ServiceLevel.JOBS, Count(50, 1), "used up: 1 failed run, none allowed"),
        (ServiceLevel.ERRORS, Count(700, 7), "used up: 7 errors, none allowed"),
        (ServiceLevel.MAILS, Count(0, 0), "no data"),
    ],
)
def test_an_error_budget_is_described_in_words(level: ServiceLevel, count: Count, words: str) -> None:
    assert format_budget(month(level, count)) == words


@pytest.mark.parametrize(
    ("level", "value", "words"),
    [
        (ServiceLevel.UPTIME, 1.0, "100 %"),
        (ServiceLevel.UPTIME, 0.999_99, "99.99 %"),
        (ServiceLevel.ERRORS, 0.0, "0 %"),
        (ServiceLevel.ERRORS, 0.000_01, "under 0.01 %"),
        (ServiceLevel.LATENCY, 0.008_42, "8.42 ms"),
        (ServiceLevel.LATENCY, 1.234, "1,234 ms"),
        (ServiceLevel.LATENCY, LATENCY_BOUNDS[-1], "> 10 s"),
        (ServiceLevel.CACHE, None, "no data"),
    ],
)
def test_a_value_never_reads_better_than_it_is(level: ServiceLevel, value: float | None, words: str) -> None:
    assert format_value(level, value) == words


@pytest.mark.parametrize(
    ("level", "value", "before", "words"),
    [
        (ServiceLevel.CACHE, 0.9, 0.85, "5 points better"),
        (ServiceLevel.ERRORS, 0.002, 0.001, "0.1 points worse"),
        (ServiceLevel.LATENCY, 0.04, 0.06, "20 ms better"),
        (ServiceLevel.LATENCY, 10.0, 0.06, "at least 9,940 ms worse"),
        (ServiceLevel.UPTIME, 1.0, 0.99999, "as before"),
        (ServiceLevel.JOBS, 1.0, None, "nothing to compare"),
        (ServiceLevel.JOBS, None, 1.0, ""),
    ],
)
def test_a_trend_says_which_way_is_better(
    level: ServiceLevel, value: float | None, before: float | None, words: str
) -> None:
    assert format_trend(month(level, Count(1000, 0), value, before)) == words


def test_the_verdict_comes_first_and_says_it_all() -> None:
    assert verdict(judged()) == "All 8 objectives met over 30 days."
    assert verdict(judged({ServiceLevel.CACHE: Count(100, 25)})) == (
        "All 8 objectives met over 30 days. Missed recently: cache hit ratio (75 % over 1 day)."
    )
    assert verdict(judged({ServiceLevel.UPTIME: Count(1440, 60), ServiceLevel.JOBS: Count(100, 50)})) == (
        "Missed over 30 days: uptime (99.86 %, objective > 99.9 %), job success (98.33 %, objective > 99 %); "
        "6 of 8 objectives are met."
    )


def test_an_objective_without_data_is_neither_met_nor_missed() -> None:
    nothing = assess([Tally()] * DAYS, BOUNDS)
    assert verdict(nothing) == "There is no data yet: nothing was served, run or sent."
    assert {row["value"] for row in rows(nothing)} == {"no data"}
    silent = assess([Tally(GOOD | {ServiceLevel.MAILS: Count()}, [100, 0, 0, 0])] * DAYS, BOUNDS)
    assert verdict(silent) == "All 7 objectives met over 30 days. No data: mail success."


@pytest.mark.parametrize(
    ("minutes", "errors", "words", "mark"),
    [
        (12, 0, "Too early to judge: 12 minutes of 30 days are known. All 8 objectives met so far.", ""),
        (
            300,
            60,
            "Too early to judge: 5 hours of 30 days are known. Missed so far: error rate (60 %, objective < 0.1 %);",
            "",
        ),
        (1440, 0, "All 8 objectives met over 24 hours of 30 days.", "✓ "),
    ],
)
def test_a_verdict_says_how_much_is_known_and_judges_after_a_day(
    minutes: int, errors: int, words: str, mark: str
) -> None:
    known = Tally(
        GOOD | {ServiceLevel.UPTIME: Count(minutes, 0), ServiceLevel.ERRORS: Count(100, errors)}, [95, 5, 0, 0]
    )
    found = assess([known, *[Tally()] * (DAYS - 1)], BOUNDS)
    assert verdict(found).startswith(words)
    table_rows = {(row["objective"], row["period"]): row for row in rows(found)}
    assert table_rows["cache hit ratio > 80 %", "30 days"]["value"] == f"{mark}95.00 %"
    month = table_rows["uptime > 99.9 %", "30 days"]["known"]
    assert str(month).endswith(" of 30 days")
    assert f"| {month} | trend |" in overview(found)


def test_the_overview_lists_objectives_and_the_table_lists_periods() -> None:
    found = judged({ServiceLevel.JOBS: Count(100, 2)})
    header, _, *lines = overview(found).splitlines()
    assert header == "| objective | budget left | 1 day | 7 days | 30 days | trend |"
    assert len(lines) == len(ServiceLevel)
    assert (
        "| job success > 99 % | 27 more failed runs allowed (of 29) | ✗ 98.00 % | ✓ 99.71 % | ✓ 99.93 % |" in lines[4]
    )
    assert len(rows(found)) == len(ServiceLevel) * len(LENGTHS)


def test_mails_are_compared_with_days_of_which_none_was_deleted() -> None:
    kept, partly_deleted = Tally({ServiceLevel.MAILS: Count(100, 3)}), Tally({ServiceLevel.MAILS: Count(60, 0)})
    days = [*[kept] * 40, *[partly_deleted] * 20]
    trends = [each.before for each in assess(days, BOUNDS) if each.level is ServiceLevel.MAILS]
    assert trends == [0.97, 0.97, 0.97]


def test_a_report_ends_where_everything_is_known() -> None:
    assert end_of(None, NOW) == datetime(2026, 3, 14, 9, 58, tzinfo=UTC)
    assert end_of(date(2026, 3, 13), NOW) == datetime(2026, 3, 14, tzinfo=UTC)
    assert end_of(date(2026, 3, 14), NOW) == end_of(None, NOW)
    assert end_of(date(2026, 3, 13), NOW, ZoneInfo("America/New_York")) == datetime(2026, 3, 14, 4, tzinfo=UTC)
    assert end_of(date(2026, 3, 7), NOW, ZoneInfo("America/New_York")) == datetime(2026, 3, 8, 5, tzinfo=UTC)


def test_a_days_minutes_begin_with_the_first_that_is_known() -> None:
    end = datetime(2026, 3, 14, 10, tzinfo=UTC)
    first = end - timedelta(days=1, hours=2)
    assert [day_minutes(end, ago, first) for ago in range(3)] == [1440, 120, 0]
    assert day_minutes(end, 0, None) == 0
