"""Where guests give up between looking and giving, and whether reminders bring gifts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

import pandas as pd

from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.reader import Progress, ReportFilter, read_chunks, unwatched
from wishcraft.analytics.tables import TableName
from wishcraft.reports.analyst_report import ReportResult, scope
from wishcraft.reports.page import Page, counted
from wishcraft.reports.plots import Bars, Days, Panel, draw, image
from wishcraft.reports.tables import Column, markdown, percents, points, rows, share, whole

Part = Literal["funnel", "reminders"]
BY: Final = ("shop", "event_type", "week")
_WESTERNMOST: Final = timedelta(hours=12)
"""So much later than UTC's a day ends at the latest: what is over by then is over for every shop."""
DAYS: Final = 3
"""After a reminder, in which gifts are counted."""
MOST: Final = 10
SHOWN: Final = 1_000
_STEPS: Final = {
    "viewed": "looked at a registry",
    "clicked": "looked at a gift",
    "in_cart": "put it in the cart",
    "purchased": "bought it",
}
_FUNNEL: Final = {
    "viewed": whole("visits"), "clicked": whole(_STEPS["clicked"]), "in_cart": whole(_STEPS["in_cart"]),
    "purchased": whole(_STEPS["purchased"]), "conversion": share("conversion"),
    "gives_up": Column("weakest step", lambda change: _STEPS[change.split(" → ")[1]]),
}  # fmt: skip
_EFFECT: Final = {
    "reminded": whole("reminded"), "not_reminded": whole("not reminded"),
    "units_difference": Column("pieces more", "{:+.2f}".format), "units_low": Column("from", "{:+.2f}".format),
    "units_high": Column("to", "{:+.2f}".format), "share_difference": points("with a gift"),
    "share_low": points("at least"), "share_high": points("at most"),
}  # fmt: skip
_NO_EXPERIMENT: Final = """*From* and *to*, *at least* and *at most* bound the two differences with a confidence of
95 %; pieces of fewer than 30 registries tell too little for that. It is no experiment: registries are not reminded when
their people unsubscribed, a mail failed or their shop sends none, and these may differ for reasons of their own."""
_EXPLAINED: Final = """A *visit* is what one visitor did with one registry in one week, which begins on Monday in the
shop's time zone. It reached a step if it did that or a later one. The *weakest step* is the one that the smallest share
of those who could take it took."""


class Figures(NamedTuple):
    """What the report counts; the docstrings of `domain.analytics` say what each column means."""

    visits: pd.DataFrame
    reminded: pd.DataFrame

    def part(self, name: Part) -> pd.DataFrame:
        """One part of the report as a frame."""
        if name == "funnel":
            return analytics.funnel(self.visits, BY)
        return analytics.reminder_effect(self.reminded, ("shop",))


def count(db: AnalystsDatabase, question: ReportFilter, now: datetime, progress: Progress = unwatched) -> Figures:
    """Read what guests did on the question's days, and what was given after reminders until `now`.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `read_chunks`.
    """
    visits, reminded = [], []
    tables: Sequence[TableName] = ("registries", "events", "reminders", "purchases")
    for chunk in read_chunks(db, question, tables, progress, happened=question.days):
        registries = chunk["registries"]
        visits.append(analytics.count_visits(chunk["events"], registries))
        reminded.append(
            analytics.count_after_reminder(
                registries, chunk["reminders"], chunk["purchases"], days=DAYS, until=(now - _WESTERNMOST).date()
            )
        )
    return Figures(analytics.add(visits), analytics.add(reminded))


def answer(
    db: AnalystsDatabase, progress: Progress = unwatched, *, question: ReportFilter, now: datetime
) -> ReportResult:
    """The report as a page, and the funnel by shop, event type and week.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `read_chunks`.
    """
    figures = count(db, question, now, progress)
    funnel, effect = figures.part("funnel"), figures.part("reminders")
    tables = {"conversion-report-funnel": rows(funnel, SHOWN), "conversion-report-reminders": rows(effect, SHOWN)}
    body = f"{scope('What guests did', question, question.days)}\n\n{_body(figures)}"
    return ReportResult(Page(_verdict(figures.visits), body, tables), funnel)


def _verdict(visits: pd.DataFrame) -> str:
    [every] = analytics.funnel(visits, ()).to_dict("records")
    if not every["viewed"]:
        return "No visit in these weeks."
    told = f"{every['conversion']:.1%} of {counted(int(every['viewed']), 'visit')} ended in a purchase"
    if pd.isna(every["gives_up"]):
        return f"{told}."
    before, step = every["gives_up"].split(" → ")
    weakest = f"of {every[before]:,} that {_STEPS[before]}, {every[step] / every[before]:.0%} {_STEPS[step]}"
    return f"{told}; the weakest step: {weakest}."


def _body(figures: Figures) -> str:
    kinds, shops = (_by(figures.visits, level) for level in ("event_type", "shop"))
    return "\n\n".join(
        [
            _draw(figures, kinds),
            f"## By event type\n\n{markdown(kinds, _columns('event_type', 'event type'), MOST)}",
            f"## By shop\n\n{markdown(shops, _columns('shop', 'shop'), MOST)}",
            _EXPLAINED,
            f"## What reminders do\n\n{_tell_effect(figures.reminded)}",
        ]
    )


def _tell_effect(reminded: pd.DataFrame) -> str:
    effect = analytics.reminder_effect(reminded)
    [every] = effect.to_dict("records")
    told = f"In the {DAYS} days from a reminder on, a reminded registry was given {_units(every['units_reminded'])}"
    beside = f"one that was not reminded {_units(every['units_not_reminded'])}"
    return f"{told}, {beside}: {every['finding']}.\n\n{markdown(effect, _EFFECT, MOST)}\n\n{_NO_EXPERIMENT}"


def _units(mean: float) -> str:
    return "nothing that is known" if pd.isna(mean) else f"{mean:.2f} pieces"


def _by(visits: pd.DataFrame, level: str) -> pd.DataFrame:
    return analytics.funnel(visits, (level,)).sort_values("conversion", ascending=False)


def _columns(level: str, title: str) -> dict[str, Column]:
    return {level: Column(title), **_FUNNEL}


def _draw(figures: Figures, kinds: pd.DataFrame) -> str:
    every, weeks = analytics.funnel(figures.visits, ()), analytics.funnel(figures.visits, ("week",))
    effect = analytics.reminder_effect(figures.reminded).iloc[0]
    conversion = percents(weeks["conversion"])
    latest = f"last: {conversion[-1]:.1f} %" if conversion else ""
    panels: list[Panel] = [
        Bars("The way to a gift", "visits", list(_STEPS.values()), [float(every[step].iloc[0]) for step in _STEPS]),
        Days("Conversion by week", latest, [week.date() for week in weeks["week"]], conversion, "%", above=False),
        Bars("Conversion", "by event type", list(kinds["event_type"]), percents(kinds["conversion"]), "%"),
        Bars(
            "Pieces given",
            effect["finding"],
            [f"reminded: {effect['reminded']:,}", f"not reminded: {effect['not_reminded']:,}"],
            [round(float(mean), 2) for mean in effect[["units_reminded", "units_not_reminded"]].fillna(0)],
        ),
    ]
    return image(
        draw(panels), "How many visits reached each step; conversion by week and event type; what reminders do"
    )
