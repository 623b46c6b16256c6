from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
from hypothesis import given

from tests.support.generators import FEW_EXAMPLES, NOW, Case, cases, fill
from tests.support.sql_oracle import Tables, assert_same, query_oracle
from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.domain.periods import Days
from wishcraft.reports.registry_report import Part, RegistryFigures, RegistryReport

STATEMENTS: dict[Part, tuple[str, Sequence[str]]] = {
    "summary": ("summary", ("shop", "event_type", "currency")),
    "registries": ("fulfilled", ()),
    "products": ("top_products", ("sold",)),
    "never bought": ("never_bought", ()),
    "price bands": ("price_bands", ()),
    "cohorts": ("cohorts", ()),
}
COMPLETION = [
    "registries", "completed", "completed_share", "wanted", "bought", "fulfilment",
    "days_p25", "days_median", "days_p75",
]  # fmt: skip
GUESTS = ["registries", "guests_mean", "guests_median", "guests_max", "without_guests"]
GIFTS = ["currency", "registries", "gifts", "guests", "value", "per_registry", "per_gift", "per_guest"]


def check_against_sql(
    db: AnalystsDatabase, tables: Tables, report_filter: ReportFilter, now: datetime
) -> RegistryFigures:
    figures = RegistryReport(report_filter, now).count(db)
    for part, (statement, by) in STATEMENTS.items():
        expected = query_oracle(tables, statement, report_filter, by, created=report_filter.days, now=now)
        found = figures.part(part)
        if part == "registries":  # in no order: PostgreSQL reads a chunk as its rows lie
            found, expected = (each.sort_values("registry_id", ignore_index=True) for each in (found, expected))
        assert_same(found, expected, part)
    for levels in ((), ("shop",), ("event_type",)):
        check_groups(figures, tables, report_filter, levels)
    return figures


def check_groups(figures: RegistryFigures, tables: Tables, report_filter: ReportFilter, by: Sequence[str]) -> None:
    """Compare the groups that the page shows."""
    rows = figures.fulfilled
    of_groups = query_oracle(tables, "summary", report_filter, by, created=report_filter.days)
    assert_same(analytics.completion(rows, by), of_groups[[*by, *COMPLETION]], f"completion by {by}")
    assert_same(analytics.guests(rows, by), of_groups[[*by, *GUESTS]], f"guests by {by}")
    of_currencies = query_oracle(tables, "summary", report_filter, [*by, "currency"], created=report_filter.days)
    assert_same(analytics.gift_value(rows, by), of_currencies[[*by, *GIFTS]], f"gift value by {by}")


def check_ranks(counts: RegistryFigures, tables: Tables, report_filter: ReportFilter) -> None:
    products, rank = counts.products, analytics.top_products
    for measure, best in (("value", rank(products, 2, "value")), ("wanted", rank(products, 2, "wanted"))):
        expected = query_oracle(tables, "top_products", report_filter, [measure], created=report_filter.days, limit=2)
        assert_same(best, expected, f"top products by {measure}")
    unsold = query_oracle(tables, "never_bought", report_filter, created=report_filter.days, limit=1)
    assert_same(analytics.never_bought(products, 1), unsold, "never bought")


@FEW_EXAMPLES
@given(cases())
def test_registries_of_generated_shops_match_the_sql_oracle(
    analysts: AnalystsDatabase, tables: Tables, case: Case
) -> None:
    fill(tables, case.rows)
    figures = check_against_sql(analysts, tables, case.report_filter, NOW)
    check_ranks(figures, tables, case.report_filter)


@pytest.mark.parametrize(
    "report_filter",
    [
        ReportFilter(),
        ReportFilter(["sakura-living.myshopify.com"], ["wedding", "baby"], Days(date(2025, 11, 1), date(2026, 2, 28))),
    ],
)
def test_registries_of_demo_shops_match_the_sql_oracle(
    analysts: AnalystsDatabase, demo_shops: Tables, report_filter: ReportFilter
) -> None:
    figures = check_against_sql(analysts, demo_shops, report_filter, datetime(2026, 3, 14, 12, tzinfo=UTC))
    check_ranks(figures, demo_shops, report_filter)
    assert all(len(figures.part(part)) for part in STATEMENTS)
