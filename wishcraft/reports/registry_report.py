"""How registries do: how far they are fulfilled, what is given and by how many, what sells, and which cohorts last."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

import pandas as pd

from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.reader import Progress, ReportFilter, read_chunks, unwatched
from wishcraft.reports.analyst_report import ReportResult, scope
from wishcraft.reports.page import Page, counted
from wishcraft.reports.plots import Bars, Grid, Panel, draw, image
from wishcraft.reports.tables import Column, decimal, markdown, percents, priced, rows, share, short, whole

Part = Literal["summary", "registries", "products", "never bought", "price bands", "cohorts"]
BY: Final = ("shop", "event_type")
PAGE: Final[Sequence[Part]] = ("summary", "products", "never bought", "price bands", "cohorts")
"""What has a table in the Prefect UI."""
MOST: Final = 10
"""Rows of each table that a person reads."""
SHOWN: Final = 1_000
"""Rows of each table of the Prefect UI."""
_BARS, _COHORTS, _AGES = 8, 6, 7
_KINDS: Final = {
    "event_type": Column("event type"), "registries": whole("registries"), "fulfilment": share("of wishes given"),
    "completed": whole("complete"), "days_median": decimal("days until they were (median)"),
}  # fmt: skip
_GIFTS: Final = {
    "shop": Column("shop"), "currency": Column("currency"), "gifts": whole("orders"), "value": Column("worth"),
    "per_gift": Column("per order"), "per_guest": Column("per guest"), "per_registry": Column("per registry"),
}  # fmt: skip
_PRODUCTS: Final = {
    "product_title": Column("product"), "variant_title": Column("variant"), "shop": Column("shop"),
    "registries": whole("registries"), "wanted": whole("wanted"), "sold": whole("sold"),
}  # fmt: skip
_BANDS: Final = {
    "currency": Column("currency"), "band": Column("price"), "shop": Column("shop"), "wanted": whole("wanted"),
    "bought": whole("of them bought"), "sell_through": share("share"),
}  # fmt: skip
_WORTH: Final = ("value", "per_gift", "per_guest", "per_registry")
_EXPLAINED: Final = """A wish counts as given up to the quantity that is wanted; *sold* is also what was bought beyond
that. *Complete* is a registry with every wish given in full, whatever its status says. Orders that were cancelled or
refunded are left out. In the grid, the number beside a month is how many registries were created in it."""


class Figures(NamedTuple):
    """What the report counts; the docstrings of `domain.analytics` say what each column means."""

    fulfilled: pd.DataFrame
    products: pd.DataFrame
    bands: pd.DataFrame
    cohorts: pd.DataFrame

    def part(self, name: Part) -> pd.DataFrame:
        """One part of the report as a frame."""
        return {
            "summary": lambda: summary(self.fulfilled),
            "registries": lambda: self.fulfilled,
            "products": lambda: analytics.top_products(self.products, len(self.products)),
            "never bought": lambda: analytics.never_bought(self.products, len(self.products)),
            "price bands": lambda: analytics.price_bands(self.bands),
            "cohorts": lambda: analytics.cohorts(self.cohorts),
        }[name]()


def count(db: AnalystsDatabase, question: ReportFilter, now: datetime, progress: Progress = unwatched) -> Figures:
    """Read the registries that were created on the question's days, and count.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `read_chunks`.
    """
    fulfilled, products, bands, cohorts = [], [], [], []
    for chunk in read_chunks(db, question, ("registries", "items", "purchases"), progress, created=question.days):
        registries, items, purchases = chunk["registries"], chunk["items"], chunk["purchases"]
        fulfilled.append(analytics.fulfil(registries, items, purchases))
        products.append(analytics.count_products(registries, items, purchases))
        bands.append(analytics.count_price_bands(registries, items, purchases))
        cohorts.append(analytics.count_cohorts(registries, purchases, now))
    return Figures(
        pd.concat(fulfilled, ignore_index=True), analytics.add(products), analytics.add(bands), analytics.add(cohorts)
    )


def summary(fulfilled: pd.DataFrame) -> pd.DataFrame:
    """A row for each shop (with its currency) and event type: completion, guests and gifts side by side."""
    completion = analytics.completion(fulfilled, BY).drop(columns="registries")
    guests = analytics.guests(fulfilled, BY).drop(columns="registries")
    return analytics.gift_value(fulfilled, BY).merge(completion, on=list(BY)).merge(guests, on=list(BY))


def answer(
    db: AnalystsDatabase, progress: Progress = unwatched, *, question: ReportFilter, now: datetime
) -> ReportResult:
    """The report as a page, and its summary.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `read_chunks`.
    """
    figures = count(db, question, now, progress)
    found = summary(figures.fulfilled)
    tables = {f"registry-report-{name.replace(' ', '-')}": rows(figures.part(name), SHOWN) for name in PAGE}
    body = f"{scope('Registries created', question, question.days)}\n\n{_body(figures)}"
    return ReportResult(Page(_verdict(figures.fulfilled), body, tables), found)


def _verdict(fulfilled: pd.DataFrame) -> str:
    if fulfilled.empty:
        return "There is no such registry."
    [every] = analytics.completion(fulfilled, ()).to_dict("records")
    given = f"{every['fulfilment']:.0%} of what they wish for is given" if every["wanted"] else "they wish for nothing"
    return f"{counted(len(fulfilled), 'registry')}: {given}, {every['completed_share']:.0%} are complete."


def _body(figures: Figures) -> str:
    if figures.fulfilled.empty:
        return "Other shops, event types or days may have some."
    kinds = analytics.completion(figures.fulfilled, ("event_type",)).sort_values("fulfilment", ascending=False)
    gifts = analytics.gift_value(figures.fulfilled, ("shop",)).sort_values("gifts", ascending=False)
    products, unsold = figures.part("products"), figures.part("never bought")
    return "\n\n".join(
        [
            _draw(figures, kinds, products),
            f"## By event type\n\n{markdown(kinds, _KINDS, MOST)}",
            f"## Orders by shop\n\n{markdown(priced(gifts, _WORTH), _GIFTS, MOST)}",
            f"## What sells\n\n{markdown(products.sort_values('sold', ascending=False), _PRODUCTS, MOST)}",
            "## Wished for, and never bought\n\n"
            + markdown(unsold.sort_values("registries", ascending=False), _PRODUCTS, MOST),
            f"## By price\n\n{markdown(figures.part('price bands'), _BANDS, 3 * MOST)}",
            _EXPLAINED,
        ]
    )


def _draw(figures: Figures, kinds: pd.DataFrame, products: pd.DataFrame) -> str:
    sold = products.groupby("product_title")["sold"].sum().nlargest(_BARS)
    bands = figures.part("price bands")
    currency = bands.groupby("currency")["wanted"].sum().idxmax() if len(bands) else ""
    prices = bands[bands["currency"] == currency].groupby("band", observed=True)[["bought", "wanted"]].sum()
    given = prices["bought"] / prices["wanted"]
    panels: list[Panel] = [
        Bars("Wishes given", "by event type", list(kinds["event_type"]), percents(kinds["fulfilment"]), "%"),
        Bars("Sold most", "pieces", short(sold.index), list(sold)),
        Bars("Wishes given", f"by price, {currency}", list(prices.index), percents(given), "%"),
        _grid(figures.cohorts),
    ]
    return image(draw(panels), "Wishes given by event type and by price; what sold most; cohorts by month of creation")


def _grid(counts: pd.DataFrame) -> Grid:
    """Of each month's registries, of all shops, the share that has had a gift so many months later."""
    everywhere = analytics.add([counts.rename(index=lambda _: "all", level="shop")])
    lived = analytics.cohorts(everywhere)
    born = lived[lived["age"] == 0].set_index("cohort")["registries"]
    shares = lived.pivot_table(index="cohort", columns="age", values="bought_share")
    shown = shares.tail(_COHORTS).iloc[:, :_AGES]
    return Grid(
        "Had a gift",
        "so many months later",
        [f"{month:%b %Y} ({born[month]:,})" for month in shown.index],
        [str(age) for age in shown.columns],
        shown.to_numpy().tolist(),
    )
