from datetime import UTC, date, datetime

import pytest
from hypothesis import given

from tests.services.by_sql import Tables, assert_same, find_by_sql
from tests.services.made_up import FEW, NOW, Case, cases, fill
from wishcraft.domain import analytics
from wishcraft.domain.analytics.products import Measure
from wishcraft.domain.periods import Days
from wishcraft.services import registry_report
from wishcraft.services.analysing import Question
from wishcraft.services.registry_report import Figures, Part
from wishcraft.store.analysts import AnalystsDatabase

STATEMENTS: dict[Part, tuple[str, tuple[str, ...]]] = {
    "summary": ("summary", ("shop", "event_type", "currency")),
    "registries": ("fulfilled", ()),
    "products": ("top_products", ("sold",)),
    "never bought": ("never_bought", ()),
    "price bands": ("price_bands", ()),
    "cohorts": ("cohorts", ()),
}
SHARES = ["registries", "completed", "completed_share", "wanted", "bought", "fulfilment"]
DAYS = ["days_p25", "days_median", "days_p75"]
GUESTS = ["registries", "guests_mean", "guests_median", "guests_max", "without_guests"]
GIFTS = ["registries", "gifts", "guests", "value", "per_registry", "per_gift", "per_guest"]


def hold_to_sql(db: AnalystsDatabase, tables: Tables, question: Question, now: datetime) -> Figures:
    figures = registry_report.count(db, question, now)
    for part, (statement, by) in STATEMENTS.items():
        expected = find_by_sql(tables, statement, question, by, created=question.days, now=now)
        assert_same(figures.part(part), expected, part)
    return figures


def hold_groups_to_sql(figures: Figures, tables: Tables, question: Question, by: tuple[str, ...]) -> None:
    whole = find_by_sql(tables, "summary", question, by, created=question.days)
    assert_same(analytics.completion(figures.fulfilled, by), whole[[*by, *SHARES, *DAYS]], f"completion by {by}")
    assert_same(analytics.guests(figures.fulfilled, by), whole[[*by, *GUESTS]], f"guests by {by}")
    in_money = find_by_sql(tables, "summary", question, (*by, "currency"), created=question.days)
    assert_same(analytics.gift_value(figures.fulfilled, by), in_money[[*by, "currency", *GIFTS]], f"gifts by {by}")


@FEW
@given(cases())
def test_every_part_is_what_sql_finds_in_made_up_shops(analysts: AnalystsDatabase, tables: Tables, case: Case) -> None:
    fill(tables, case.rows)
    hold_to_sql(analysts, tables, case.question, NOW)


@FEW
@given(cases())
def test_however_registries_are_grouped_sql_finds_the_same(
    analysts: AnalystsDatabase, tables: Tables, case: Case
) -> None:
    fill(tables, case.rows)
    figures = registry_report.count(analysts, case.question, NOW)
    for by in ((), ("shop",), ("event_type",), ("status", "event_type")):
        hold_groups_to_sql(figures, tables, case.question, by)


@FEW
@given(cases())
def test_products_are_ranked_as_sql_ranks_them(analysts: AnalystsDatabase, tables: Tables, case: Case) -> None:
    fill(tables, case.rows)
    counts = registry_report.count(analysts, case.question, NOW).products
    measures: tuple[Measure, ...] = ("sold", "value", "wanted")
    for measure in measures:
        best = find_by_sql(tables, "top_products", case.question, (measure,), created=case.question.days, limit=2)
        assert_same(analytics.top_products(counts, 2, measure), best, measure)
    unsold = find_by_sql(tables, "never_bought", case.question, created=case.question.days, limit=2)
    assert_same(analytics.never_bought(counts, 2), unsold, "never bought")


@pytest.mark.parametrize(
    "question",
    [
        Question(),
        Question(["sakura-living.myshopify.com"], ["wedding", "baby"]),
        Question(days=Days(date(2025, 11, 1), date(2026, 1, 31))),
    ],
)
def test_every_part_is_what_sql_finds_in_the_demo_shops(
    analysts: AnalystsDatabase, many: Tables, question: Question
) -> None:
    figures = hold_to_sql(analysts, many, question, datetime(2026, 3, 14, 12, tzinfo=UTC))
    assert all(len(figures.part(part)) for part in STATEMENTS)
    for by in ((), ("shop",), ("event_type",)):
        hold_groups_to_sql(figures, many, question, by)
