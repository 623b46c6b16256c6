"""The demand forecast: what guests will probably buy for coming events, compared with the stock."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal, NamedTuple

import pandas as pd

from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.analytics.reader import Progress, ignore_progress, read_chunks
from wishcraft.domain.periods import Days
from wishcraft.reports.analyst_report import TABLE_ROWS, AnalystReport, ReportResult, scope
from wishcraft.reports.page import Page, pluralize
from wishcraft.reports.plots import BarChart, draw, markdown_image
from wishcraft.reports.tables import Column, decimal, integer, shorten_labels, to_markdown, to_rows

Part = Literal["forecast"]
_PAGE_ROWS: Final = 20
_BARS: Final = 10
_LABEL_CHARACTERS: Final = 70
_COLUMNS: Final = {
    "product_title": Column("product"), "variant_title": Column("variant"), "verdict": Column("verdict"),
    "stock": integer("in stock"), "expected": decimal("expected"), "low": decimal("from"), "high": decimal("to"),
    "open": integer("still wished for"), "short": decimal("missing"), "shop": Column("shop"),
}  # fmt: skip
_SCARCE: Final = ("out of stock", "will run out", "may run out")
_EXPLANATION: Final = """*Expected* is what guests will probably buy until the events are over: of the quantity still
wished for, the share that was bought as many weeks before past events of the same type, in the last year. In 80 % of
the cases the quantity lies between *from* and *to*, if guests decide independently of each other. Other customers of
the shop are not included."""


class DemandFigures(NamedTuple):
    """The counts of the forecast; the docstrings of `wishcraft.analytics` define the columns."""

    open_items: pd.DataFrame
    stock: pd.DataFrame
    history: pd.DataFrame

    def part(self, _name: Part = "forecast") -> pd.DataFrame:
        """The forecast by variant, the scarcest first."""
        return analytics.demand_forecast(self.open_items, self.stock, self.history)


@dataclass(frozen=True, slots=True)
class DemandReport(AnalystReport[DemandFigures]):
    """Demand at the events of `weeks` weeks from `today`. Its frame: a row for each variant."""

    report_filter: ReportFilter
    today: date
    weeks: int

    def count(self, db: AnalystsDatabase, progress: Progress = ignore_progress) -> DemandFigures:
        """Count the open items of coming events, their stock, and the purchases before past events."""
        open_items, stock, history = [], [], []
        for chunk in read_chunks(db, self.report_filter, ("registries", "items", "purchases"), progress):
            registries, items, purchases = chunk["registries"], chunk["items"], chunk["purchases"]
            open_items.append(analytics.count_open(registries, items, purchases, self.today, self.weeks))
            stock.append(analytics.variant_stock(registries, items))
            history.append(analytics.count_lead(registries, items, purchases, self.today))
        return DemandFigures(analytics.add(open_items), pd.concat(stock, ignore_index=True), analytics.add(history))

    def render(self, figures: DemandFigures) -> ReportResult:
        """Render the page."""
        forecast = figures.part()
        days = Days(self.today, self.today + timedelta(days=7 * self.weeks - 1))
        table = to_markdown(forecast, _COLUMNS, _PAGE_ROWS)
        body = "\n\n".join([scope("Events", self.report_filter, days), _draw(forecast), table, _EXPLANATION])
        page = Page(_verdict(forecast, self.weeks), body, {"demand-forecast": to_rows(forecast, TABLE_ROWS)})
        return ReportResult(page, forecast)


def _verdict(forecast: pd.DataFrame, weeks: int) -> str:
    events = f"at the events of the next {f'{weeks} weeks' if weeks > 1 else 'week'}"
    if forecast.empty:
        return f"Nothing is wished for {events}."
    counts = forecast["verdict"].value_counts()
    scarce = [f"{counts[verdict]:,} {verdict}" for verdict in _SCARCE if verdict in counts]
    variants = pluralize(len(forecast), "variant")
    return f"{variants} wished for {events}: {', '.join(scarce) or 'there is enough of each'}."


def _draw(forecast: pd.DataFrame) -> str:
    scarce = forecast[forecast["short"] > 0].head(_BARS)
    most_expected = forecast[forecast["expected"] > 0].sort_values("expected", ascending=False).head(_BARS)
    panels = [
        _bar_chart("Likely to be missing", scarce, "short"),
        _bar_chart("Expected most", most_expected, "expected"),
    ]
    alt = "The variants of which most is likely to be missing, and those expected most"
    return markdown_image(draw(panels, columns=1), alt)


def _bar_chart(title: str, variants: pd.DataFrame, column: str) -> BarChart:
    shops = variants["shop"].str.removesuffix(".myshopify.com")
    names = (variants["product_title"] + ", " + variants["variant_title"]).str.removesuffix(", ")
    titles = names + " · " + shops
    labels = shorten_labels(titles, _LABEL_CHARACTERS)
    return BarChart(title, "pieces", labels, [round(value, 1) for value in variants[column]])
