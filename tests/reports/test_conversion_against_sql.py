from collections.abc import Sequence
from datetime import UTC, date, datetime

from hypothesis import given

from tests.support.generators import FEW_EXAMPLES, NOW, Case, cases, fill
from tests.support.sql_oracle import Tables, assert_same, query_oracle
from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.domain.periods import Days, last_weeks
from wishcraft.reports.conversion_report import BY, ConversionFigures, ConversionReport

FUNNELS: Sequence[Sequence[str]] = ((), ("shop",), ("event_type",), ("week",), BY)
EFFECTS: Sequence[Sequence[str]] = ((), ("shop",), ("shop", "event_type"))


def check_against_sql(
    db: AnalystsDatabase, tables: Tables, report_filter: ReportFilter, now: datetime
) -> ConversionFigures:
    figures = ConversionReport(report_filter, now).count(db)
    for by in FUNNELS:
        assert_same(
            analytics.funnel(figures.visits, by), query_oracle(tables, "funnel", report_filter, by), f"funnel by {by}"
        )
    for by in EFFECTS:
        expected = query_oracle(tables, "reminders", report_filter, by, now=now)
        assert_same(analytics.reminder_effect(figures.reminded, by), expected, f"effect of reminders by {by}")
    return figures


@FEW_EXAMPLES
@given(cases())
def test_conversion_of_generated_shops_matches_the_sql_oracle(
    analysts: AnalystsDatabase, tables: Tables, case: Case
) -> None:
    fill(tables, case.rows)
    check_against_sql(analysts, tables, case.report_filter, NOW)


def test_conversion_of_demo_shops_matches_the_sql_oracle(analysts: AnalystsDatabase, demo_shops: Tables) -> None:
    demo_shops.execute("DELETE FROM reminders WHERE registry_id % 4 = 0")  # otherwise too few were not reminded
    now = datetime(2026, 3, 14, 12, tzinfo=UTC)
    for report_filter in (
        ReportFilter(),
        ReportFilter(["maple-and-pine.myshopify.com"], ["wedding"], last_weeks(now.date(), 5)),
    ):
        figures = check_against_sql(analysts, demo_shops, report_filter, now)
        assert len(figures.part("funnel")) >= 5
    check_against_sql(analysts, demo_shops, ReportFilter(days=Days(last=date(2026, 3, 1))), now)
    [effect] = analytics.reminder_effect(ConversionReport(ReportFilter(), now).count(analysts).reminded).to_dict(
        "records"
    )
    assert min(effect["reminded"], effect["not_reminded"]) >= 30
