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
from wishcraft.reports.analyst_report import AnalystReport, ReportResult, scope
from wishcraft.reports.page import Page, pluralize, short_name
from wishcraft.reports.plots import BarChart, draw, markdown_image
from wishcraft.reports.tables import (
    Column,
    integer,
    product_names,
    shop,
    shorten_labels,
    to_markdown,
    to_rows,
    with_ranges,
)

Part = Literal["forecast"]
_PAGE_ROWS: Final = 20
_ROWS_OF_A_VERDICT: Final = 8
"""On the page, so that each verdict of the headline is seen."""
_BARS: Final = 10
_PRODUCT_CHARACTERS, _SHOP_CHARACTERS = 28, 14
"""Of the names beside the bars."""
_COLUMNS: Final = {
    "product": Column("product", is_cut=True), "verdict": Column("verdict"), "stock": integer("in stock"),
    "expected_range": Column("expected"), "shop": shop(),
}  # fmt: skip
_SCARCE: Final = ("out of stock", "will run out", "may run out")
_SEVERITY: Final = {verdict: place for place, verdict in enumerate((*_SCARCE, "enough", "not limited"))}
_EXPLANATION: Final = """*Expected* is what guests will probably buy until the events are over: of the quantity still
wished for, the share that was bought as many weeks before past events of the same type, in the last year. In 80 % of
the cases the quantity lies in the range in brackets, the black line over a bar, if guests decide independently of each
other. It is missing if nothing was left to buy so many weeks before any past event. The red stroke is the stock. Other
customers of the shop are not included."""


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
    """Demand at the events of `weeks` weeks from `today`. Its frame: a row for each variant.

    Shops that have uninstalled the app count for the past only: their guests have no registry, and their stock is old.
    """

    report_filter: ReportFilter
    today: date
    weeks: int

    def count(self, db: AnalystsDatabase, progress: Progress = ignore_progress) -> DemandFigures:
        """Count the open items of coming events, their stock, and the purchases before past events."""
        open_items, stock, history = [], [], []
        for chunk in read_chunks(db, self.report_filter, ("registries", "items", "purchases"), progress):
            registries, items, purchases = chunk["registries"], chunk["items"], chunk["purchases"]
            current = registries[registries["has_app"].astype("bool")]
            open_items.append(analytics.count_open(current, items, purchases, self.today, self.weeks))
            stock.append(analytics.variant_stock(current, items))
            history.append(analytics.count_lead(registries, items, purchases, self.today))
        return DemandFigures(analytics.add(open_items), pd.concat(stock, ignore_index=True), analytics.add(history))

    def render(self, figures: DemandFigures) -> ReportResult:
        """Render the page."""
        forecast = figures.part()
        days = Days(self.today, self.today + timedelta(days=7 * self.weeks - 1))
        shown = forecast.assign(
            product=product_names(forecast),
            expected_range=with_ranges(forecast["expected"], forecast["low"], forecast["high"], "{:,.1f}".format),
        ).sort_values("verdict", key=lambda verdicts: verdicts.map(_SEVERITY), kind="stable")
        table = to_markdown(_of_each_verdict(shown), _COLUMNS, _PAGE_ROWS)
        body = [scope("Events", self.report_filter, days), *_draw(shown), table, _EXPLANATION]
        tables = {"demand-forecast": to_rows(shown, _COLUMNS)}
        return ReportResult(Page(_verdict(forecast, self.weeks), "\n\n".join(body), tables), forecast)


def _of_each_verdict(shown: pd.DataFrame) -> pd.DataFrame:
    """All rows, but those beyond the first of their verdict after the others."""
    rank = shown.groupby("verdict").cumcount()
    return shown.assign(_is_late=rank >= _ROWS_OF_A_VERDICT).sort_values("_is_late", kind="stable")


def _verdict(forecast: pd.DataFrame, weeks: int) -> str:
    events = f"at the events of the next {f'{weeks} weeks' if weeks > 1 else 'week'}"
    if forecast.empty:
        return f"Nothing is wished for {events}."
    counts = forecast["verdict"].value_counts()
    scarce = [f"{counts[verdict]:,} {verdict}" for verdict in _SCARCE if verdict in counts]
    variants = pluralize(len(forecast), "variant")
    return f"{variants} wished for {events}: {', '.join(scarce) or 'there is enough of each'}."


def _draw(variants: pd.DataFrame) -> list[str]:
    """A picture of what is likely to be missing, and of what is expected most; none if nothing is expected."""
    expected = variants[variants["expected"] > 0]
    scarce = expected[expected["short"] > 0].head(_BARS)
    most_expected = expected.sort_values("expected", ascending=False).head(_BARS)
    panels = [
        _bar_chart(title, chosen)
        for title, chosen in (("Likely to run short", scarce), ("Expected most", most_expected))
        if len(chosen)
    ]
    alt = "The variants of which most is likely to be missing, and those expected most, with ranges and stock"
    return [markdown_image(draw(panels), alt)] if panels else []


def _bar_chart(title: str, variants: pd.DataFrame) -> BarChart:
    names = zip(
        shorten_labels(variants["product"], _PRODUCT_CHARACTERS),
        shorten_labels(variants["shop"].map(short_name), _SHOP_CHARACTERS),
        variants["verdict"],
        strict=True,
    )
    return BarChart(
        title,
        "pieces expected; red: in stock",
        [" · ".join(each) for each in names],
        [round(value, 1) for value in variants["expected"]],
        ranges=list(zip(variants["low"], variants["high"], strict=True)),
        marks=[None if pd.isna(stock) else max(stock, 0.0) for stock in variants["stock"]],
    )
