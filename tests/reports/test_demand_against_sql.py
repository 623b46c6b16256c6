from datetime import date, timedelta

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tests.support.generators import FEW, TODAY, Case, cases, fill
from tests.support.sql_oracle import Tables, assert_same, find_by_sql
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.reader import ReportFilter
from wishcraft.reports import demand_report

VARIANT = ["shop", "product_id", "variant_id"]


def hold_to_sql(db: AnalystsDatabase, tables: Tables, question: ReportFilter, today: date, weeks: int) -> pd.DataFrame:
    figures = demand_report.count(db, question, today, weeks)
    forecast = figures.forecast()
    for statement, found in (
        ("coming", figures.wishes.reset_index()),
        ("lead", figures.history.reset_index()),
        ("demand", forecast.sort_values(VARIANT)),
    ):
        assert_same(found, find_by_sql(tables, statement, question, today=today, weeks=weeks), statement)
    assert_scarcest_first(forecast)
    return forecast


def assert_scarcest_first(forecast: pd.DataFrame) -> None:
    """Held apart from the figures: sums that differ in their last digit alone may come in either order."""
    known = forecast.fillna({"short": -1, "short_if_all": -1})
    order = [False, False, True, True, True]
    assert known.index.equals(known.sort_values(["short", "short_if_all", *VARIANT], ascending=order).index)


@FEW
@given(cases(), st.integers(1, 26), st.sampled_from([0, -1, -28, -300]))
def test_made_up_wishes_are_forecast_as_sql_forecasts_them(
    analysts: AnalystsDatabase, tables: Tables, case: Case, weeks: int, later: int
) -> None:
    fill(tables, case.rows)
    hold_to_sql(analysts, tables, case.question, TODAY + timedelta(days=later), weeks)


def test_the_demo_shops_wishes_are_forecast_as_sql_forecasts_them(analysts: AnalystsDatabase, many: Tables) -> None:
    for question, weeks in ((ReportFilter(), 8), (ReportFilter(["maple-and-pine.myshopify.com"], ["wedding"]), 26)):
        forecast = hold_to_sql(analysts, many, question, date(2026, 3, 14), weeks)
        assert forecast["expected"].sum() > 1
        assert set(forecast["verdict"]) >= {"enough", "not limited", "out of stock"}
