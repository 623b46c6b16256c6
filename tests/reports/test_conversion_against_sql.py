from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given

from tests.support.generators import FEW, NOW, Case, cases, fill
from tests.support.sql_oracle import Tables, assert_same, find_by_sql
from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.reader import ReportFilter
from wishcraft.domain.periods import last_weeks
from wishcraft.reports import conversion_report
from wishcraft.reports.conversion_report import BY, Figures

FUNNELS: Sequence[Sequence[str]] = ((), ("shop",), ("event_type",), ("week",), BY)
EFFECTS: Sequence[Sequence[str]] = ((), ("shop",), ("shop", "event_type"))


def hold_to_sql(db: AnalystsDatabase, tables: Tables, question: ReportFilter, now: datetime) -> Figures:
    figures = conversion_report.count(db, question, now)
    for by in FUNNELS:
        assert_same(
            analytics.funnel(figures.visits, by), find_by_sql(tables, "funnel", question, by), f"funnel by {by}"
        )
    for by in EFFECTS:
        expected = find_by_sql(tables, "reminders", question, by, now=now)
        assert_same(analytics.reminder_effect(figures.reminded, by), expected, f"what reminders did by {by}")
    return figures


@FEW
@given(cases())
def test_made_up_visits_and_reminders_have_the_figures_that_sql_finds(
    analysts: AnalystsDatabase, tables: Tables, case: Case
) -> None:
    fill(tables, case.rows)
    hold_to_sql(analysts, tables, case.question, NOW)


def test_the_demo_shops_visits_and_reminders_have_the_figures_that_sql_finds(
    analysts: AnalystsDatabase, many: Tables
) -> None:
    many.execute("DELETE FROM reminders WHERE registry_id % 4 = 0")  # else too few were not reminded to tell
    now = datetime(2026, 3, 14, 12, tzinfo=UTC)
    for question in (
        ReportFilter(),
        ReportFilter(["maple-and-pine.myshopify.com"], ["wedding"], last_weeks(now.date(), 5)),
    ):
        figures = hold_to_sql(analysts, many, question, now)
        assert len(figures.part("funnel")) >= 5
    [effect] = analytics.reminder_effect(conversion_report.count(analysts, ReportFilter(), now).reminded).to_dict(
        "records"
    )
    assert min(effect["reminded"], effect["not_reminded"]) >= 30
