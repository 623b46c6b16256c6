"""The conversion report: at which step visits end, and whether reminded registries receive more gifts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

import pandas as pd

from wishcraft import analytics
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter
from wishcraft.analytics.reader import Progress, ignore_progress, read_chunks
from wishcraft.analytics.tables import TableName
from wishcraft.reports.analyst_report import PAGE_ROWS, TABLE_ROWS, AnalystReport, ReportResult, scope
from wishcraft.reports.page import Page, pluralize
from wishcraft.reports.plots import BarChart, Panel, TimeSeries, draw, markdown_image
from wishcraft.reports.tables import (
    Column,
    integer,
    percentage,
    percentage_points,
    to_markdown,
    to_percentages,
    to_rows,
)

Part = Literal["funnel", "reminders"]
BY: Final = ("shop", "event_type", "week")
_LATEST_TIMEZONE: Final = timedelta(hours=12)
"""UTC-12 is the last time zone to end a day: a day that is over there is over for every shop."""
DAYS_AFTER_REMINDER: Final = 3
"""Days from the reminder's on in which gifts are counted."""
_STEPS: Final = {
    "viewed": "looked at a registry",
    "clicked": "looked at a gift",
    "in_cart": "put it in the cart",
    "purchased": "bought it",
}
_FUNNEL_COLUMNS: Final = {
    "viewed": integer("visits"), "clicked": integer(_STEPS["clicked"]), "in_cart": integer(_STEPS["in_cart"]),
    "purchased": integer(_STEPS["purchased"]), "conversion": percentage("conversion"),
    "gives_up": Column("weakest step", lambda change: _STEPS[change.split(" → ")[1]]),
}  # fmt: skip
_EFFECT_COLUMNS: Final = {
    "reminded": integer("reminded"), "not_reminded": integer("not reminded"),
    "units_difference": Column("pieces more", "{:+.2f}".format), "units_low": Column("from", "{:+.2f}".format),
    "units_high": Column("to", "{:+.2f}".format), "share_difference": percentage_points("with a gift"),
    "share_low": percentage_points("at least"), "share_high": percentage_points("at most"),
}  # fmt: skip
_EFFECT_EXPLANATION: Final = """*From* and *to*, and *at least* and *at most*, are the bounds of the two differences'
95 % confidence intervals; groups of fewer than 30 registries have no interval for pieces. This is not an experiment:
registries are not reminded when their registrants unsubscribed, a mail failed or their shop sends none, and such
registries may differ in other ways."""
_FUNNEL_EXPLANATION: Final = """A *visit* is what one visitor did with one registry in one week, which begins on Monday
in the shop's time zone. It reached a step if it did that or a later one. The *weakest step* is the one that was reached
by the smallest share of the visits that had reached the step before."""


class ConversionFigures(NamedTuple):
    """The counts of the report; the docstrings of `wishcraft.analytics` define the columns."""

    visits: pd.DataFrame
    reminded: pd.DataFrame

    def part(self, name: Part) -> pd.DataFrame:
        """One part of the report as a frame."""
        if name == "funnel":
            return analytics.funnel(self.visits, BY)
        return analytics.reminder_effect(self.reminded, ("shop",))


@dataclass(frozen=True, slots=True)
class ConversionReport(AnalystReport[ConversionFigures]):
    """Visits on the filter's days, and purchases after reminders until `now`. Its frame: shop, event type and week."""

    report_filter: ReportFilter
    now: datetime

    def count(self, db: AnalystsDatabase, progress: Progress = ignore_progress) -> ConversionFigures:
        """Count the visits and the purchases after reminders."""
        visits, reminded = [], []
        tables: Sequence[TableName] = ("registries", "events", "reminders", "purchases")
        until = (self.now - _LATEST_TIMEZONE).date()
        for chunk in read_chunks(db, self.report_filter, tables, progress, happened=self.report_filter.days):
            registries = chunk["registries"]
            visits.append(analytics.count_visits(chunk["events"], registries))
            reminded.append(
                analytics.count_after_reminder(
                    registries, chunk["reminders"], chunk["purchases"], days=DAYS_AFTER_REMINDER, until=until
                )
            )
        return ConversionFigures(analytics.add(visits), analytics.add(reminded))

    def render(self, figures: ConversionFigures) -> ReportResult:
        """Render the page."""
        funnel, effect = figures.part("funnel"), figures.part("reminders")
        tables = {
            "conversion-report-funnel": to_rows(funnel, TABLE_ROWS),
            "conversion-report-reminders": to_rows(effect, TABLE_ROWS),
        }
        body = f"{scope('What guests did', self.report_filter, self.report_filter.days)}\n\n{_body(figures)}"
        return ReportResult(Page(_verdict(figures.visits), body, tables), funnel)


def _verdict(visits: pd.DataFrame) -> str:
    [total] = analytics.funnel(visits, ()).to_dict("records")
    if not total["viewed"]:
        return "No visit in these weeks."
    conversion = f"{total['conversion']:.1%} of {pluralize(int(total['viewed']), 'visit')} ended in a purchase"
    if pd.isna(total["gives_up"]):
        return f"{conversion}."
    before, step = total["gives_up"].split(" → ")
    weakest = f"of {total[before]:,} that {_STEPS[before]}, {total[step] / total[before]:.0%} {_STEPS[step]}"
    return f"{conversion}; the weakest step: {weakest}."


def _body(figures: ConversionFigures) -> str:
    event_types, shops = (_funnel_by(figures.visits, level) for level in ("event_type", "shop"))
    type_columns = {"event_type": Column("event type"), **_FUNNEL_COLUMNS}
    shop_columns = {"shop": Column("shop"), **_FUNNEL_COLUMNS}
    return "\n\n".join(
        [
            _draw(figures, event_types),
            f"## By event type\n\n{to_markdown(event_types, type_columns, PAGE_ROWS)}",
            f"## By shop\n\n{to_markdown(shops, shop_columns, PAGE_ROWS)}",
            _FUNNEL_EXPLANATION,
            f"## What reminders do\n\n{_reminder_effect(figures.reminded)}",
        ]
    )


def _reminder_effect(reminded: pd.DataFrame) -> str:
    effect = analytics.reminder_effect(reminded)
    [total] = effect.to_dict("records")
    units = f"In the {DAYS_AFTER_REMINDER} days from a reminder on, a reminded registry received on average"
    units = f"{units} {_format_units(total['units_reminded'])}"
    other_units = f"a registry that was not reminded {_format_units(total['units_not_reminded'])}"
    table = to_markdown(effect, _EFFECT_COLUMNS, PAGE_ROWS)
    return f"{units}, {other_units}: {total['finding']}.\n\n{table}\n\n{_EFFECT_EXPLANATION}"


def _format_units(mean: float) -> str:
    return "(no data)" if pd.isna(mean) else f"{mean:.2f} pieces"


def _funnel_by(visits: pd.DataFrame, level: str) -> pd.DataFrame:
    return analytics.funnel(visits, (level,)).sort_values("conversion", ascending=False)


def _draw(figures: ConversionFigures, event_types: pd.DataFrame) -> str:
    total, weeks = analytics.funnel(figures.visits, ()), analytics.funnel(figures.visits, ("week",))
    effect = analytics.reminder_effect(figures.reminded).iloc[0]
    conversion = to_percentages(weeks["conversion"])
    latest = f"last: {conversion[-1]:.1f} %" if conversion else ""
    panels: list[Panel] = [
        BarChart("The way to a gift", "visits", list(_STEPS.values()), [float(total[step].iloc[0]) for step in _STEPS]),
        TimeSeries("Conversion by week", latest, [week.date() for week in weeks["week"]], conversion, "%", above=False),
        BarChart(
            "Conversion",
            "by event type",
            list(event_types["event_type"]),
            to_percentages(event_types["conversion"]),
            "%",
        ),
        BarChart(
            "Pieces given",
            effect["finding"],
            [f"reminded: {effect['reminded']:,}", f"not reminded: {effect['not_reminded']:,}"],
            [round(float(mean), 2) for mean in effect[["units_reminded", "units_not_reminded"]].fillna(0)],
        ),
    ]
    return markdown_image(
        draw(panels), "How many visits reached each step; conversion by week and event type; what reminders do"
    )
