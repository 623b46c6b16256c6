from collections.abc import Sequence
from datetime import UTC, date, datetime

import pytest
from hypothesis import given

from tests.support.generators import FEW, NOW, Case, cases, fill
from tests.support.sql_oracle import Tables, assert_same, find_by_sql
from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.reader import ReportFilter
from wishcraft.domain.periods import Days
from wishcraft.reports import registry_report
from wishcraft.reports.registry_report import Figures, Part

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


def hold_to_sql(db: AnalystsDatabase, tables: Tables, question: ReportFilter, now: datetime) -> Figures:
    figures = registry_report.count(db, question, now)
    for part, (statement, by) in STATEMENTS.items():
        expected = find_by_sql(tables, statement, question, by, created=question.days, now=now)
        assert_same(figures.part(part), expected, part)
    for levels in ((), ("shop",), ("event_type",)):
        hold_groups_to_sql(figures, tables, question, levels)
    return figures


def hold_groups_to_sql(figures: Figures, tables: Tables, question: ReportFilter, by: Sequence[str]) -> None:
    """As the report's page has them."""
    rows = figures.fulfilled
    of_groups = find_by_sql(tables, "summary", question, by, created=question.days)
    assert_same(analytics.completion(rows, by), of_groups[[*by, *COMPLETION]], f"completion by {by}")
    assert_same(analytics.guests(rows, by), of_groups[[*by, *GUESTS]], f"guests by {by}")
    of_currencies = find_by_sql(tables, "summary", question, [*by, "currency"], created=question.days)
    assert_same(analytics.gift_value(rows, by), of_currencies[[*by, *GIFTS]], f"gift value by {by}")


def hold_ranks_to_sql(counts: Figures, tables: Tables, question: ReportFilter) -> None:
    products, found = counts.products, analytics.top_products
    for measure, best in (("value", found(products, 2, "value")), ("wanted", found(products, 2, "wanted"))):
        expected = find_by_sql(tables, "top_products", question, [measure], created=question.days, limit=2)
        assert_same(best, expected, f"top products by {measure}")
    unsold = find_by_sql(tables, "never_bought", question, created=question.days, limit=1)
    assert_same(analytics.never_bought(products, 1), unsold, "never bought")


@FEW
@given(cases())
def test_made_up_registries_have_the_figures_that_sql_finds(
    analysts: AnalystsDatabase, tables: Tables, case: Case
) -> None:
    fill(tables, case.rows)
    figures = hold_to_sql(analysts, tables, case.question, NOW)
    hold_ranks_to_sql(figures, tables, case.question)


@pytest.mark.parametrize(
    "question",
    [
        ReportFilter(),
        ReportFilter(["sakura-living.myshopify.com"], ["wedding", "baby"], Days(date(2025, 11, 1), date(2026, 2, 28))),
    ],
)
def test_the_demo_shops_registries_have_the_figures_that_sql_finds(
    analysts: AnalystsDatabase, many: Tables, question: ReportFilter
) -> None:
    figures = hold_to_sql(analysts, many, question, datetime(2026, 3, 14, 12, tzinfo=UTC))
    hold_ranks_to_sql(figures, many, question)
    assert all(len(figures.part(part)) for part in STATEMENTS)
