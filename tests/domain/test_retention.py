from datetime import UTC, datetime, timedelta

import pytest

from wishcraft.domain.retention import DataKind, cutoffs, is_compliance


@pytest.mark.parametrize(
    "action", ["compliance.export", "compliance.", "customers/data_request", "customers/redact", "shop/redact"]
)
def test_compliance_webhooks_and_actions_are_compliance(action: str) -> None:
    assert is_compliance(action)


@pytest.mark.parametrize(
    "action", ["", "compliance", "registry.compliance.", "Compliance.export", "customers/update", "shop/redacted"]
)
def test_nothing_else_is_compliance(action: str) -> None:
    assert not is_compliance(action)


def test_a_cutoff_is_counted_in_days_of_24_hours() -> None:
    now = datetime(2026, 3, 8, 7, tzinfo=UTC)  # the day on which New York's clocks go forward
    assert cutoffs({DataKind.AUDIT: 30, DataKind.RUNS: 1}, now) == {
        DataKind.AUDIT: now - timedelta(hours=720),
        DataKind.RUNS: datetime(2026, 3, 7, 7, tzinfo=UTC),
    }
