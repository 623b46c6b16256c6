"""The registry report: completion, gifts, guests, products, prices and cohorts of registries."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

import pandas as pd

from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.analytics.reader import Progress, ignore_progress, read_chunks
from wishcraft.analytics.tables import TableName
from wishcraft.reports.analyst_report import PAGE_ROWS, TABLE_ROWS, AnalystReport, ReportResult, scope
from wishcraft.reports.page import Page, pluralize
from wishcraft.reports.plots import BarChart, Heatmap, Panel, draw, markdown_image
from wishcraft.reports.tables import (
    Column,
    decimal,
    format_money,
    integer,
    percentage,
    shorten_labels,
    to_markdown,
    to_percentages,
    to_rows,
)

Part = Literal["summary", "registries", "products", "never bought", "price bands", "cohorts"]
BY: Final = ("shop", "event_type")
_ARTIFACTS: Final[Sequence[Part]] = ("summary", "products", "never bought", "price bands", "cohorts")
"""The parts with a table artifact in the Prefect UI."""
_BARS, _COHORTS, _AGES = 8, 6, 7
_TYPE_COLUMNS: Final = {
    "event_type": Column("event type"), "registries": integer("registries"),
    "fulfilment": percentage("of wishes given"), "completed": integer("complete"),
    "days_median": decimal("days until they were (median)"),
}  # fmt: skip
_GIFT_COLUMNS: Final = {
    "shop": Column("shop"), "currency": Column("currency"), "gifts": integer("orders"), "value": Column("worth"),
    "per_gift": Column("per order"), "per_guest": Column("per guest"), "per_registry": Column("per registry"),
}  # fmt: skip
_PRODUCT_COLUMNS: Final = {
    "product_title": Column("product"), "variant_title": Column("variant"), "shop": Column("shop"),
    "registries": integer("registries"), "wanted": integer("wanted"), "sold": integer("sold"),
}  # fmt: skip
_BAND_COLUMNS: Final = {
    "currency": Column("currency"), "band": Column("price"), "shop": Column("shop"), "wanted": integer("wanted"),
    "bought": integer("of them bought"), "sell_through": percentage("share"),
}  # fmt: skip
_MONEY_COLUMNS: Final = ("value", "per_gift", "per_guest", "per_registry")
_EXPLANATION: Final = """A wish counts as given up to the quantity that is wanted; *sold* also includes what was bought
beyond it. A registry is *complete* when every wish is given in full, whatever its status. Cancelled and refunded orders
are left out. In the grid, the number beside a month is how many registries were created in it."""


class RegistryFigures(NamedTuple):
    """The counts of the report; the docstrings of `wishcraft.analytics` define the columns."""

    fulfilled: pd.DataFrame
    products: pd.DataFrame
    bands: pd.DataFrame
    cohorts: pd.DataFrame

    def part(self, name: Part) -> pd.DataFrame:
        """One part of the report as a frame."""
        return {
            "summary": lambda: _summary(self.fulfilled),
            "registries": lambda: self.fulfilled,
            "products": lambda: analytics.top_products(self.products, len(self.products)),
            "never bought": lambda: analytics.never_bought(self.products, len(self.products)),
            "price bands": lambda: analytics.price_bands(self.bands),
            "cohorts": lambda: analytics.cohorts(self.cohorts),
        }[name]()


@dataclass(frozen=True, slots=True)
class RegistryReport(AnalystReport[RegistryFigures]):
    """Registries that were created on the filter's days, until `now`. Its frame: the summary."""

    report_filter: ReportFilter
    now: datetime

    def count(self, db: AnalystsDatabase, progress: Progress = ignore_progress) -> RegistryFigures:
        """Count the registries, their items and purchases."""
        fulfilled, products, bands, cohorts = [], [], [], []
        tables: Sequence[TableName] = ("registries", "items", "purchases")
        for chunk in read_chunks(db, self.report_filter, tables, progress, created=self.report_filter.days):
            registries, items, purchases = chunk["registries"], chunk["items"], chunk["purchases"]
            fulfilled.append(analytics.fulfil(registries, items, purchases))
            products.append(analytics.count_products(registries, items, purchases))
            bands.append(analytics.count_price_bands(registries, items, purchases))
            cohorts.append(analytics.count_cohorts(registries, purchases, self.now))
        return RegistryFigures(
            pd.concat(fulfilled, ignore_index=True),
            analytics.add(products),
            analytics.add(bands),
            analytics.add(cohorts),
        )

    def render(self, figures: RegistryFigures) -> ReportResult:
        """Render the page."""
        tables = {
            f"registry-report-{name.replace(' ', '-')}": to_rows(figures.part(name), TABLE_ROWS) for name in _ARTIFACTS
        }
        body = f"{scope('Registries created', self.report_filter, self.report_filter.days)}\n\n{_body(figures)}"
        return ReportResult(Page(_verdict(figures.fulfilled), body, tables), figures.part("summary"))


def _summary(fulfilled: pd.DataFrame) -> pd.DataFrame:
    """Completion, guests and gifts side by side: a row for each shop (with its currency) and event type."""
    completion = analytics.completion(fulfilled, BY).drop(columns="registries")
    guests = analytics.guests(fulfilled, BY).drop(columns="registries")
    return analytics.gift_value(fulfilled, BY).merge(completion, on=list(BY)).merge(guests, on=list(BY))


def _verdict(fulfilled: pd.DataFrame) -> str:
    if fulfilled.empty:
        return "There is no such registry."
    [total] = analytics.completion(fulfilled, ()).to_dict("records")
    given = f"{total['fulfilment']:.0%} of what they wish for is given" if total["wanted"] else "they wish for nothing"
    return f"{pluralize(len(fulfilled), 'registry')}: {given}, {total['completed_share']:.0%} are complete."


def _body(figures: RegistryFigures) -> str:
    if figures.fulfilled.empty:
        return "Choose other shops, event types or days."
    event_types = analytics.completion(figures.fulfilled, ("event_type",)).sort_values("fulfilment", ascending=False)
    gifts = analytics.gift_value(figures.fulfilled, ("shop",)).sort_values("gifts", ascending=False)
    products, unsold = figures.part("products"), figures.part("never bought")
    by_sales, by_registries = (
        products.sort_values("sold", ascending=False),
        unsold.sort_values("registries", ascending=False),
    )
    return "\n\n".join(
        [
            _draw(figures, event_types, products),
            f"## By event type\n\n{to_markdown(event_types, _TYPE_COLUMNS, PAGE_ROWS)}",
            f"## Orders by shop\n\n{to_markdown(format_money(gifts, _MONEY_COLUMNS), _GIFT_COLUMNS, PAGE_ROWS)}",
            f"## What sells\n\n{to_markdown(by_sales, _PRODUCT_COLUMNS, PAGE_ROWS)}",
            f"## Wished for, and never bought\n\n{to_markdown(by_registries, _PRODUCT_COLUMNS, PAGE_ROWS)}",
            f"## By price\n\n{to_markdown(figures.part('price bands'), _BAND_COLUMNS, 3 * PAGE_ROWS)}",
            _EXPLANATION,
        ]
    )


def _draw(figures: RegistryFigures, event_types: pd.DataFrame, products: pd.DataFrame) -> str:
    sold = products.groupby("product_title")["sold"].sum().nlargest(_BARS)
    bands = figures.part("price bands")
    currency = bands.groupby("currency")["wanted"].sum().idxmax() if len(bands) else ""
    prices = bands[bands["currency"] == currency].groupby("band", observed=True)[["bought", "wanted"]].sum()
    given = to_percentages(prices["bought"] / prices["wanted"])
    fulfilment = to_percentages(event_types["fulfilment"])
    panels: list[Panel] = [
        BarChart("Wishes given", "by event type", list(event_types["event_type"]), fulfilment, "%"),
        BarChart("Sold most", "pieces", shorten_labels(sold.index), list(sold)),
        BarChart("Wishes given", f"by price, {currency}", list(prices.index), given, "%"),
        _cohort_heatmap(figures.cohorts),
    ]
    return markdown_image(
        draw(panels), "Wishes given by event type and by price; what sold most; cohorts by month of creation"
    )


def _cohort_heatmap(counts: pd.DataFrame) -> Heatmap:
    """The share of each month's registries, over all shops, with a gift after that many months."""
    over_shops = analytics.add([counts.rename(index=lambda _: "all", level="shop")])
    by_age = analytics.cohorts(over_shops)
    sizes = by_age[by_age["age"] == 0].set_index("cohort")["registries"]
    shares = by_age.pivot_table(index="cohort", columns="age", values="bought_share")
    shown = shares.tail(_COHORTS).iloc[:, :_AGES]
    return Heatmap(
        "Had a gift",
        "so many months later",
        [f"{month:%b %Y} ({sizes[month]:,})" for month in shown.index],
        [str(age) for age in shown.columns],
        shown.to_numpy().tolist(),
    )
