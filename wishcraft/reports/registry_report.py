"""The registry report: completion, gifts, guests, products, prices and cohorts of registries."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

import pandas as pd

from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter, TableName
from wishcraft.analytics.reader import Progress, ignore_progress, read_chunks
from wishcraft.domain.currencies import symbol
from wishcraft.reports.analyst_report import PAGE_ROWS, AnalystReport, ReportResult, scope
from wishcraft.reports.page import Page, format_percent, pluralize
from wishcraft.reports.plots import BarChart, Heatmap, Panel, draw, markdown_image
from wishcraft.reports.tables import (
    Column,
    decimal,
    format_money,
    integer,
    percentage,
    product_names,
    shop,
    shorten_labels,
    to_markdown,
    to_percentages,
    to_rows,
)

Part = Literal["summary", "registries", "products", "never bought", "price bands", "cohorts"]
BY: Final = ("shop", "event_type")
_BARS, _CURRENCIES, _COHORTS = 8, 6, 18
_TYPE_COLUMNS: Final = {
    "event_type": Column("event type"), "fulfilment": percentage("given"), "complete": Column("complete"),
    "days_median": decimal("days"),
}  # fmt: skip
_GIFT_COLUMNS: Final = {
    "shop": shop(), "gifts": integer("orders"), "value": Column("worth"), "per_gift": Column("per order"),
}  # fmt: skip
_SUMMARY_COLUMNS: Final = {
    "shop": shop(), "event_type": Column("event type"), "registries": integer("registries"),
    "fulfilment": percentage("given"), "completed_share": percentage("complete"), "gifts": integer("orders"),
    "value": Column("worth"),
}  # fmt: skip
_SOLD_COLUMNS: Final = {
    "product": Column("product", is_cut=True), "shop": shop(), "sold": integer("sold"), "wanted": integer("wanted"),
}  # fmt: skip
_UNSOLD_COLUMNS: Final = {
    "product": Column("product", is_cut=True), "shop": shop(), "registries": integer("registries"),
    "wanted": integer("wanted"),
}  # fmt: skip
_ID: Final = {"variant_id": Column("variant id")}
_BAND_COLUMNS: Final = {
    "price": Column("price"), "shop": shop(), "sell_through": percentage("bought"), "bought": integer("pieces bought"),
    "wanted": integer("wanted"),
}  # fmt: skip
_COHORT_COLUMNS: Final = {
    "shop": shop(), "cohort": Column("created in", "{:%Y-%m}".format), "age": integer("months later"),
    "bought_share": percentage("had a gift by then"), "active_share": percentage("had one in that month"),
    "registries": integer("registries"),
}  # fmt: skip
_MONEY_COLUMNS: Final = ("value", "per_gift")
_EXPLANATION: Final = """A wish counts as given up to the quantity that is wanted; *sold* also includes what was bought
beyond it, and what was bought of wishes that were removed later. A registry is *complete* when every wish is given in
full, with any status; *days* is the median time that this took. Cancelled and refunded orders are left out. In the
grid, the number beside a month is how many registries were created in it; the current month, which is not over, is left
out."""


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
        tables = {key: to_rows(frame, columns) for key, (frame, columns) in _tables(figures).items()}
        body = f"{scope('Registries created', self.report_filter, self.report_filter.days)}\n\n{_body(figures)}"
        return ReportResult(Page(_verdict(figures.fulfilled), body, tables), figures.part("summary"))


def _tables(figures: RegistryFigures) -> dict[str, tuple[pd.DataFrame, Mapping[str, Column]]]:
    """The tables of the run by artifact key, with their columns."""
    return {
        "registry-report": (format_money(figures.part("summary"), _MONEY_COLUMNS), _SUMMARY_COLUMNS),
        "registry-report-products": (
            format_money(_named(figures.part("products")), ["value"]),
            {**_SOLD_COLUMNS, "value": Column("worth"), **_ID},
        ),
        "registry-report-never-bought": (_named(figures.part("never bought")), {**_UNSOLD_COLUMNS, **_ID}),
        "registry-report-price-bands": (
            format_money(_priced(figures.part("price bands")), ["value"]),
            {**_BAND_COLUMNS, "value": Column("worth")},
        ),
        "registry-report-cohorts": (figures.part("cohorts"), _COHORT_COLUMNS),
    }


def _completed(registries: pd.DataFrame) -> pd.DataFrame:
    """The figures with how many registries are complete, such as `4 of 28`."""
    counts = zip(registries["completed"], registries["registries"], strict=True)
    return registries.assign(complete=[f"{completed:,} of {every:,}" for completed, every in counts])


def _named(products: pd.DataFrame) -> pd.DataFrame:
    return products.assign(product=product_names(products))


def _priced(bands: pd.DataFrame) -> pd.DataFrame:
    """The price bands with their prices in words, such as `$25 to $50`."""
    return bands.assign(price=list(map(_price, bands["band"], bands["currency"])))


def _price(band: str, currency: str) -> str:
    return re.sub(r"\d[\d,]*", lambda number: f"{symbol(currency)}{number[0]}", band)


def _summary(fulfilled: pd.DataFrame) -> pd.DataFrame:
    """Completion, guests and gifts side by side: a row for each shop (with its currency) and event type."""
    completion = analytics.completion(fulfilled, BY).drop(columns="registries")
    guests = analytics.guests(fulfilled, BY).drop(columns="registries")
    return analytics.gift_value(fulfilled, BY).merge(completion, on=list(BY)).merge(guests, on=list(BY))


def _verdict(fulfilled: pd.DataFrame) -> str:
    if fulfilled.empty:
        return "There is no such registry."
    [total] = analytics.completion(fulfilled, ()).to_dict("records")
    given = (
        f"{format_percent(total['fulfilment'])} of what they wish for is given"
        if total["wanted"]
        else "they wish for nothing"
    )
    return f"{pluralize(len(fulfilled), 'registry')}: {given}, {format_percent(total['completed_share'])} are complete."


def _body(figures: RegistryFigures) -> str:
    if figures.fulfilled.empty:
        return "Choose other shops, event types or days."
    event_types = analytics.completion(figures.fulfilled, ("event_type",)).sort_values("fulfilment", ascending=False)
    gifts = analytics.gift_value(figures.fulfilled, ("shop",)).sort_values("gifts", ascending=False)
    products, unsold = _named(figures.part("products")), _named(figures.part("never bought"))
    by_sales, by_registries = (
        products.sort_values("sold", ascending=False),
        unsold.sort_values("registries", ascending=False),
    )
    bands = _priced(figures.part("price bands").sort_values(["currency", "band", "shop"]))
    return "\n\n".join(
        [
            _draw(event_types, products, bands),
            f"## By event type\n\n{to_markdown(_completed(event_types), _TYPE_COLUMNS, PAGE_ROWS)}",
            f"## Orders by shop\n\n{to_markdown(format_money(gifts, _MONEY_COLUMNS), _GIFT_COLUMNS, PAGE_ROWS)}",
            f"## What sells\n\n{to_markdown(by_sales, _SOLD_COLUMNS, PAGE_ROWS)}",
            f"## Wished for, and never bought\n\n{to_markdown(by_registries, _UNSOLD_COLUMNS, PAGE_ROWS)}",
            f"## By price\n\n{to_markdown(bands, _BAND_COLUMNS, 3 * PAGE_ROWS)}",
            f"## By month of creation\n\n{_draw_cohorts(figures.cohorts)}",
            _EXPLANATION,
        ]
    )


def _draw(event_types: pd.DataFrame, products: pd.DataFrame, bands: pd.DataFrame) -> str:
    sold = products.groupby("product_title")["sold"].sum().nlargest(_BARS)
    fulfilment = to_percentages(event_types["fulfilment"])
    panels: list[Panel] = [
        BarChart("Wishes given", "by event type", list(event_types["event_type"]), fulfilment, "%"),
        BarChart("Sold most", "pieces, all variants and shops", shorten_labels(sold.index), list(sold)),
    ]
    currencies = bands.groupby("currency")["wanted"].sum().nlargest(_CURRENCIES).index
    for currency in currencies:
        prices = bands[bands["currency"] == currency].groupby("band", observed=True)[["bought", "wanted"]].sum()
        names = [_price(str(band), currency) for band in prices.index]
        panels.append(
            BarChart(
                "Wishes given", f"by price, {currency}", names, to_percentages(prices["bought"] / prices["wanted"]), "%"
            )
        )
    return markdown_image(draw(panels), "Wishes given by event type and, for each currency, by price; what sold most")


def _draw_cohorts(counts: pd.DataFrame) -> str:
    if counts.empty:
        return "No month is over since the first of them was created."
    alt = "The share of each month's registries that had a gift so many months later"
    return markdown_image(draw([_cohort_heatmap(counts)]), alt)


def _cohort_heatmap(counts: pd.DataFrame) -> Heatmap:
    """The share of each month's registries, over all shops, with a gift after that many months."""
    by_age = analytics.cohorts(counts, ())
    sizes = by_age[by_age["age"] == 0].set_index("cohort")["registries"]
    shares = by_age.pivot_table(index="cohort", columns="age", values="bought_share")
    known = shares.tail(_COHORTS).dropna(axis="columns", how="all")
    shown = known.iloc[:, :_COHORTS]  # more columns would overlap
    later = f", up to {shown.columns[-1]}" if known.shape[1] > _COHORTS else ""
    left_out = f"; {len(shares) - _COHORTS:,} older left out" if len(shares) > _COHORTS else ""
    return Heatmap(
        "Had a gift, %",
        f"months later{later}{left_out}",
        [f"{month:%b %Y} ({sizes[month]:,})" for month in shown.index],
        [str(age) for age in shown.columns],
        shown.to_numpy().tolist(),
    )
