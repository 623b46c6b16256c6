"""What guests are likely to buy for the events to come, beside what is in stock."""

from datetime import date, timedelta
from typing import Final, NamedTuple

import pandas as pd

from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.reader import Progress, ReportFilter, read_chunks, unwatched
from wishcraft.domain.periods import Days
from wishcraft.reports.analyst_report import ReportResult, scope
from wishcraft.reports.page import Page, counted
from wishcraft.reports.plots import Bars, draw, image
from wishcraft.reports.tables import Column, decimal, markdown, rows, short, whole

MOST: Final = 20
SHOWN: Final = 1_000
_BARS: Final = 10
_LETTERS: Final = 70
_COLUMNS: Final = {
    "product_title": Column("product"), "variant_title": Column("variant"), "verdict": Column("verdict"),
    "stock": whole("in stock"), "expected": decimal("expected"), "low": decimal("from"), "high": decimal("to"),
    "open": whole("still wished for"), "short": decimal("missing"), "shop": Column("shop"),
}  # fmt: skip
_SCARCE: Final = ("out of stock", "will run out", "may run out")
_EXPLAINED: Final = """*Expected* is what guests are likely to buy until the events are over: of what is still wished
for, the share that was bought so many weeks before past events of the same type, in the last year. In 80 % of the cases
it lies between *from* and *to*, if guests decide by themselves. What others buy in the shop is not in it."""


class Figures(NamedTuple):
    """What the forecast counts; the docstrings of `domain.analytics` say what each column means."""

    wishes: pd.DataFrame
    stock: pd.DataFrame
    history: pd.DataFrame

    def forecast(self) -> pd.DataFrame:
        """The forecast by variant, the scarcest first."""
        return analytics.demand_forecast(self.wishes, self.stock, self.history)


def count(
    db: AnalystsDatabase, question: ReportFilter, today: date, weeks: int, progress: Progress = unwatched
) -> Figures:
    """Read what is wished for at the events of the coming weeks, and how past ones went.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `read_chunks`.
    """
    wishes, stock, history = [], [], []
    for chunk in read_chunks(db, question, ("registries", "items", "purchases"), progress):
        registries, items, purchases = chunk["registries"], chunk["items"], chunk["purchases"]
        wishes.append(analytics.count_open(registries, items, purchases, today, weeks))
        stock.append(analytics.variant_stock(registries, items))
        history.append(analytics.count_lead(registries, items, purchases, today))
    return Figures(analytics.add(wishes), pd.concat(stock, ignore_index=True), analytics.add(history))


def answer(
    db: AnalystsDatabase, progress: Progress = unwatched, *, question: ReportFilter, today: date, weeks: int
) -> ReportResult:
    """The forecast as a page, and by variant.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `read_chunks`.
    """
    forecast = count(db, question, today, weeks, progress).forecast()
    about = scope("Events", question, Days(today, today + timedelta(days=7 * weeks - 1)))
    body = f"{about}\n\n{_draw(forecast)}\n\n{markdown(forecast, _COLUMNS, MOST)}\n\n{_EXPLAINED}"
    return ReportResult(Page(_verdict(forecast, weeks), body, {"demand-forecast": rows(forecast, SHOWN)}), forecast)


def _verdict(forecast: pd.DataFrame, weeks: int) -> str:
    ahead = f"at the events of the next {f'{weeks} weeks' if weeks > 1 else 'week'}"
    if forecast.empty:
        return f"Nothing is wished for {ahead}."
    judged = forecast["verdict"].value_counts()
    told = [f"{judged[verdict]:,} {verdict}" for verdict in _SCARCE if verdict in judged]
    return f"{counted(len(forecast), 'variant')} wished for {ahead}: {', '.join(told) or 'there is enough of each'}."


def _draw(forecast: pd.DataFrame) -> str:
    scarce = forecast[forecast["short"] > 0].head(_BARS)
    wanted = forecast[forecast["expected"] > 0].sort_values("expected", ascending=False).head(_BARS)
    panels = [_bars("Likely to be missing", scarce, "short"), _bars("Expected most", wanted, "expected")]
    return image(draw(panels, columns=1), "The variants of which most is likely to be missing, and those expected most")


def _bars(title: str, chosen: pd.DataFrame, figure: str) -> Bars:
    shops = chosen["shop"].str.removesuffix(".myshopify.com")
    names = short(chosen["product_title"] + ", " + chosen["variant_title"] + " · " + shops, _LETTERS)
    return Bars(title, "pieces", names, [round(value, 1) for value in chosen[figure]])
