"""The texts of the analysts' pages agree with their figures."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import pandas as pd
import pytest

from tests.support.frame_chunks import Chunk, Registry
from tests.support.sql_oracle import Tables
from tests.support.tables import table_pixels
from wishcraft.analytics import count_cohorts
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.domain.periods import Days, last_weeks
from wishcraft.reports import ad_hoc_sql, conversion_report, demand_report, plots, registry_report
from wishcraft.reports.analyst_report import ReportResult, scope
from wishcraft.reports.conversion_report import ConversionReport
from wishcraft.reports.demand_report import DemandReport
from wishcraft.reports.page import format_percent
from wishcraft.reports.plots import BarChart, Heatmap, Panel
from wishcraft.reports.registry_report import RegistryReport, _draw_cohorts
from wishcraft.reports.tables import (
    BOX,
    NO_VALUE,
    Column,
    format_money,
    percentage,
    shorten_labels,
    to_cells,
    to_markdown,
)

TODAY = date(2026, 3, 14)
NOW = datetime(2026, 3, 14, 12, tzinfo=UTC)
STEPS = {"clicked": "looked at a gift", "in_cart": "put it in the cart", "purchased": "bought it"}


class ScarceReports(NamedTuple):
    """The three reports on the demo registries while products have long titles and little stock, and their panels."""

    registries: ReportResult
    demand: ReportResult
    conversion: ReportResult
    panels: list[Panel]


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[Panel]:
    """The panels of all plots that the test draws."""
    drawn: list[Panel] = []

    def draw(panels: Sequence[Panel]) -> bytes:
        drawn.extend(panels)
        return plots.draw(panels)

    for module in (ad_hoc_sql, conversion_report, demand_report, registry_report):
        monkeypatch.setattr(module, "draw", draw)
    return drawn


@pytest.fixture(scope="module")
def built_reports() -> list[ScarceReports]:
    """Those reports, once a test has built them; tests only read them."""
    return []


@pytest.fixture
def scarce_reports(
    analysts: AnalystsDatabase, demo_shops: Tables, panels: list[Panel], built_reports: list[ScarceReports]
) -> ScarceReports:
    """Those reports."""
    if not built_reports:
        demo_shops.execute(
            "UPDATE registry_items SET product_title = 'Heritage Cast Iron Casserole ' || repeat('x ', 60),"
            " inventory_quantity = (variant_id % 3)::int, available = true"
        )
        built_reports.append(
            ScarceReports(
                RegistryReport(ReportFilter(), NOW).build(analysts),
                DemandReport(ReportFilter(), TODAY, 8).build(analysts),
                ConversionReport(ReportFilter(days=last_weeks(TODAY, 12)), NOW).build(analysts),
                panels,
            )
        )
    return built_reports[0]


def test_conversion_verdict_names_the_weakest_step(scarce_reports: ScarceReports) -> None:
    page, funnel = scarce_reports.conversion
    visits = [int(funnel[step].sum()) for step in ("viewed", *STEPS)]
    shares = [after / before for before, after in pairwise(visits)]
    place = shares.index(min(shares))
    step = list(STEPS.values())[place]
    assert f"; the weakest step: of {visits[place]:,} that " in page.verdict
    assert page.verdict.endswith(f", {format_percent(shares[place])} {step}.")
    assert "→" not in page.body
    assert "_" not in page.verdict


@pytest.mark.parametrize(
    ("now", "last", "is_open"),
    [
        (NOW, TODAY, True),
        (datetime(2026, 3, 16, 11, tzinfo=UTC), date(2026, 3, 15), True),  # in UTC-12, Sunday is not over
        (datetime(2026, 3, 16, 13, tzinfo=UTC), date(2026, 3, 15), False),
        (datetime(2026, 4, 1, tzinfo=UTC), TODAY, True),  # the report ends on Saturday
    ],
)
def test_week_that_is_not_over_is_marked_and_no_headline(now: datetime, last: date, is_open: bool) -> None:
    visit = {"shop": "a", "event_type": "baby", "clicked": 30, "in_cart": 20}
    mondays = [(pd.Timestamp("2026-03-02"), 100, 10), (pd.Timestamp("2026-03-09"), 60, 40)]
    visits = pd.DataFrame([visit | {"week": week, "viewed": all_, "purchased": sold} for week, all_, sold in mondays])
    report = ConversionReport(ReportFilter(days=last_weeks(last, 2)), now)
    weeks = conversion_report._by_week(visits.assign(conversion=[0.1, 40 / 60]), report._begin_of_open_week())
    assert weeks.subtitle == ("last full week: 10 %" if is_open else "last full week: 66.67 %")
    assert weeks.open_values == int(is_open)
    assert all(low < value < high for value, (low, high) in zip([10.0, 66.7], filter(None, weeks.ranges), strict=True))


def test_both_weeks_that_are_open_on_a_monday_morning_are_marked() -> None:
    visit = {"shop": "a", "event_type": "baby", "clicked": 30, "in_cart": 20}
    mondays = [("2026-11-16", 100, 10), ("2026-11-23", 60, 30), ("2026-11-30", 29, 1)]
    visits = pd.DataFrame(
        [visit | {"week": pd.Timestamp(week), "viewed": all_, "purchased": sold} for week, all_, sold in mondays]
    )
    monday = datetime(2026, 11, 30, 5, tzinfo=UTC)
    report = ConversionReport(ReportFilter(days=last_weeks(monday.date(), 3)), monday)
    weeks = conversion_report._by_week(
        visits.assign(conversion=visits["purchased"] / visits["viewed"]), report._begin_of_open_week()
    )
    assert (weeks.subtitle, weeks.open_values) == ("last full week: 10 %", 2)
    assert list(weeks.values) == [10, 50, None]
    figure = plots.make_figure([weeks])
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == [
        "fewer than 30 visits",
        "a week that is not over",
    ]


def test_verdict_counts_out_of_stock_apart_from_will_run_out(scarce_reports: ScarceReports) -> None:
    page, forecast = scarce_reports.demand
    for verdict, scarce in (
        ("out of stock", forecast["stock"] < 1),
        ("will run out", (forecast["stock"] >= 1) & (forecast["stock"] < forecast["low"])),
    ):
        assert scarce.sum()
        assert f" {scarce.sum():,} {verdict}" in page.verdict
    assert "events of the next 8 weeks: " in page.verdict
    assert "*Events from 2026-03-14 to 2026-05-08; all shops; all event types.*" in page.body


def test_amounts_have_their_symbol_and_those_in_yen_no_decimals(scarce_reports: ScarceReports) -> None:
    page = scarce_reports.registries.page
    orders = page.body.partition("## Orders by shop")[2].splitlines()
    [yen] = [line for line in orders if line.startswith("| sakura-living | ")]
    assert (yen.count("¥"), yen.count(".")) == (2, 0)  # worth, in all and for each order
    [euros] = [line for line in orders if line.startswith("| lumiere-maison | ")]
    assert (euros.count("€"), euros.count(".")) == (2, 2)


def test_amounts_have_their_currencys_decimals_and_cut_rows_are_counted() -> None:
    amounts = format_money(
        pd.DataFrame({"currency": ["JPY", "EUR", "KWD", "EUR"], "value": [1500.0, 1500.0, 12.345, None]}), ["value"]
    )
    page = to_markdown(amounts, {"value": Column("worth")}, 3)
    assert [line.strip("| ") for line in page.splitlines()[2:5]] == [
        "¥1,500",
        "€1,500.00",
        "KWD\N{NO-BREAK SPACE}12.345",
    ]
    assert page.endswith("… and 1 more, not on this page.")


@pytest.mark.parametrize(
    ("shops", "days", "beginning"),
    [
        ([], Days(), "*Registries created on any day; all shops; all event types.*"),
        (["a.example", "b.example"], Days(TODAY), "*Registries created from 2026-03-14; a.example, b.example; "),
        ([], Days(None, TODAY), "*Registries created to 2026-03-14; all shops; "),
    ],
)
def test_page_begins_with_its_scope(shops: Sequence[str], days: Days, beginning: str) -> None:
    assert scope("Registries created", ReportFilter(shops), days).startswith(beginning)


def test_reports_draw_any_product_title(analysts: AnalystsDatabase, demo: Tables) -> None:
    titles = ["Ba$$in", "Gift Card $25 - $50", "花瓶 桜" * 20, "Mug 🎁"]
    demo.execute(
        "UPDATE registry_items SET product_title = (%s::text[])[1 + id %% 4], variant_title = '',"
        " inventory_quantity = 0",
        [titles],
    )
    demo.execute("UPDATE registries SET event_date = %s WHERE status = 'active'", [TODAY + timedelta(days=3)])
    for page, _ in (
        RegistryReport(ReportFilter(), NOW).build(analysts),
        DemandReport(ReportFilter(), TODAY, 2).build(analysts),
    ):
        assert "data:image/png" in page.body
        assert not [title for title in titles if title[:6] not in str(page.tables)]  # a long one is cut


def test_tables_of_reports_fit_their_box_and_have_ids_last(scarce_reports: ScarceReports) -> None:
    reports = (scarce_reports.registries, scarce_reports.demand, scarce_reports.conversion)
    tables = {key: rows for page, _ in reports for key, rows in page.tables.items()}
    for key, rows in tables.items():
        assert table_pixels(rows) <= BOX, key
        assert not [name for row in rows[:1] for name in list(row)[:-1] if name.endswith(" id")]
    products = {str(row["product"]) for rows in tables.values() for row in rows if "product" in row}
    assert {(name.startswith("Heritage Cast Iron"), name.endswith("…")) for name in products} == {(True, True)}


def test_shares_of_tables_are_not_rounded_to_something_false() -> None:
    shares = pd.DataFrame({"share": [0.00001, 0.99999, 0.5, 1.0, 0.0, None]})
    cells = [cell for [cell] in to_cells(shares, {"share": percentage("share")})]
    assert cells == ["under 0.01 %", "99.99 %", "50.00 %", "100 %", "0 %", NO_VALUE]


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("Classic Linen Tablecloth, Natural", "Classic Linen …"),
        ("a b\n c", "a b c"),
        ("x" * 21, f"{'x' * 18} …"),
        ("x" * 20, "x" * 20),
        ("花" * 11, f"{'花' * 9} …"),
        ("花" * 10, "花" * 10),
        ("", ""),
    ],
)
def test_label_of_a_chart_is_cut_at_a_word_or_else_at_its_width(label: str, shown: str) -> None:
    assert shorten_labels([label], 20) == [shown]


def bar_charts(panels: Sequence[Panel]) -> dict[tuple[str, str], BarChart]:
    return {(panel.title, panel.subtitle): panel for panel in panels if isinstance(panel, BarChart)}


def test_registry_report_draws_each_currency_and_every_month_of_creation(scarce_reports: ScarceReports) -> None:
    page, panels = scarce_reports.registries.page, scarce_reports.panels
    prices = {subtitle: chart for (_, subtitle), chart in bar_charts(panels).items() if subtitle.startswith("by price")}
    assert set(prices) == {"by price, EUR", "by price, JPY", "by price, USD"}
    assert all("¥" in name for name in prices["by price, JPY"].names)
    [grid] = [panel for panel in panels if isinstance(panel, Heatmap)]
    months = {row["created in"] for row in page.tables["registry-report-cohorts"]}
    assert len(grid.rows) == len(months)
    assert grid.rows[0].startswith(f"{min(date.fromisoformat(f'{month}-01') for month in map(str, months)):%b %Y} (")
    assert all(any(share == share for share in column) for column in zip(*grid.shares, strict=True))  # noqa: PLR0124


@pytest.mark.parametrize(
    ("cohorts", "ages", "shape", "subtitle"),
    [
        (1, 18, (1, 18), "months later"),
        (12, 48, (12, 18), "months later, up to 17"),
        (20, 40, (18, 18), "months later, up to 17; 2 older left out"),
    ],
)
def test_grid_of_old_registries_shows_as_many_months_as_there_is_room_for(
    cohorts: int, ages: int, shape: tuple[int, int], subtitle: str
) -> None:
    months = pd.date_range("2021-01-01", periods=cohorts, freq="MS")
    counts = pd.DataFrame(
        [
            {"shop": "a", "cohort": month, "age": age, "registries": 4, "active": 1, "first": int(age == place)}
            for place, month in enumerate(months)
            for age in range(ages - place)
        ]
    )
    grid = registry_report._cohort_heatmap(counts.set_index(["shop", "cohort", "age"]))
    assert (len(grid.rows), len(grid.columns)) == shape
    assert grid.subtitle == subtitle
    assert grid.shares[-1][-1] in {0.0, 0.25}


def test_registries_of_the_current_month_alone_have_no_grid_by_month() -> None:
    now = datetime(2026, 3, 14, tzinfo=UTC)
    chunk = Chunk([Registry(1, created_at=now - timedelta(days=9))])
    assert "No month is over" in _draw_cohorts(count_cohorts(chunk.registries, chunk.purchases, now))


def test_share_of_few_visits_is_not_drawn_and_the_others_have_an_interval(
    analysts: AnalystsDatabase, demo_shops: Tables, panels: list[Panel]
) -> None:
    [first] = demo_shops.execute("SELECT min(registry_id) FROM analytics_events").fetchone() or ()
    demo_shops.execute("UPDATE registries SET event_type = 'baby' WHERE id = %s", [first])
    demo_shops.execute(
        "DELETE FROM analytics_events AS event USING registries WHERE registry_id = registries.id"
        " AND event_type = 'baby' AND (registry_id <> %s OR event.id %% 20 > 0)",
        [first],
    )
    demo_shops.execute("DELETE FROM reminders")
    ConversionReport(ReportFilter(days=last_weeks(TODAY, 12)), NOW).build(analysts)
    charts = bar_charts(panels)
    chart = charts["Conversion", "by event type"]
    for name, value, bounds in zip(chart.names, chart.values, chart.ranges, strict=True):
        if name.startswith("baby: "):
            assert (value, bounds) == (None, None)
        else:
            assert value is not None
            assert bounds
            assert bounds[0] < value < bounds[1]
    assert chart.names[-1].startswith("baby: ")
    assert list(charts["Pieces given", "too few to tell"].values) == [None, None]


def test_demand_report_shows_the_scarce_first_with_intervals_and_stock(scarce_reports: ScarceReports) -> None:
    page, forecast = scarce_reports.demand
    verdicts = [str(row["verdict"]) for row in page.tables["demand-forecast"]]
    order = ["out of stock", "will run out", "may run out", "enough", "not limited"]
    assert verdicts == sorted(verdicts, key=order.index)
    assert len(set(verdicts)) > 1
    assert list(page.tables["demand-forecast"][0])[:2] == ["product", "verdict"]
    shown = [verdict for verdict in dict.fromkeys(verdicts) if f"| {verdict} |" in page.body]
    assert len(shown) > 1  # also if the first one has more rows than the page
    chart = bar_charts(scarce_reports.panels)["Expected most", "pieces expected; red: in stock"]
    most = forecast.sort_values("expected", ascending=False).iloc[0]
    assert next(iter(chart.values)) == round(most["expected"], 1)
    assert chart.ranges[0] == (most["low"], most["high"])
    assert chart.marks[0] == most["stock"]


def test_answer_draws_all_columns_of_numbers_and_shows_its_sql_in_short_lines(
    analysts: AnalystsDatabase, panels: list[Panel]
) -> None:
    columns = ", ".join(f"{number} * n AS c{number}" for number in range(1, 11))
    sql = f"SELECT date '2026-01-01' + n AS day, {columns} FROM (VALUES (0), (1), (NULL), (9)) AS v (n) WHERE n > -1"  # noqa: S608  ours
    page, _ = ad_hoc_sql.run_query(analysts, sql, 100, 10)
    assert [panel.title for panel in panels] == [f"c{number}" for number in range(1, 9)]
    assert "*2 more columns of numbers: in the table.*" in page.body
    code = page.body.partition("```sql\n")[2].partition("\n```")[0]
    assert " ".join(code.split()) == sql
    assert max(map(len, code.splitlines())) <= 68
