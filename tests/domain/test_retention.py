from datetime import UTC, datetime, timedelta

from wishcraft.domain.retention import DataKind, cutoffs


def test_a_cutoff_is_counted_in_days_of_24_hours() -> None:
    now = datetime(2026, 3, 8, 7, tzinfo=UTC)  # the day on which New York's clocks go forward
    assert cutoffs({DataKind.AUDIT: 30, DataKind.RUNS: 1}, now) == {
        DataKind.AUDIT: now - timedelta(hours=720),
        DataKind.RUNS: datetime(2026, 3, 7, 7, tzinfo=UTC),
    }
