"""The conversion report: at which step visits end, and whether reminded registries receive more gifts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

import pandas as pd

from wishcraft import analytics
from wishcraft.analytics.confidence_intervals import MIN_SIZE_FOR_MEANS, share_interval
from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.filters import ReportFilter, TableName
from wishcraft.analytics.reader import Progress, ignore_progress, read_chunks
from wishcraft.reports.analyst_report import PAGE_ROWS, AnalystReport, ReportResult, scope
from wishcraft.reports.page import Page, format_percent, pluralize
from wishcraft.reports.plots import BarChart, Panel, TimeSeries, draw, markdown_image
from wishcraft.reports.tables import (
    Column,
    integer,
    iso_date,
    percentage,
    percentage_points,
    shop,
    to_markdown,
    to_percentages,
    to_rows,
    with_ranges,
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
MIN_VISITS: Final = 30
"""From this number on, a share of visits is drawn; below, it is too few to tell."""
_CONFIDENCE: Final = 0.95
_PAGE_COLUMNS: Final = {
    "conversion": percentage("conversion"), "viewed": integer("visits"), "purchased": integer("bought"),
    "gives_up": Column("weakest step", lambda change: _STEPS[change.split(" → ")[1]]),
}  # fmt: skip
_TYPE_COLUMNS: Final = {"event_type": Column("event type"), **_PAGE_COLUMNS}
_SHOP_COLUMNS: Final = {"shop": shop(), **_PAGE_COLUMNS}
_TABLE_COLUMNS: Final = {
    "week": iso_date("week of"), "shop": shop(), "event_type": Column("event type"),
    "conversion": percentage("conversion"), "viewed": integer("visits"), "clicked": integer("looked"),
    "in_cart": integer("in cart"), "purchased": integer("bought"),
}  # fmt: skip
_EFFECT_COLUMNS: Final = {
    "units": Column("pieces more"), "share": Column("more with a gift"), "reminded": integer("reminded"),
    "not_reminded": integer("not reminded"),
}  # fmt: skip
_EFFECT_TABLE_COLUMNS: Final = {
    "shop": shop(), "finding": Column("finding"), "units": Column("pieces more"),
    "share_difference": percentage_points("with a gift"), "reminded": integer("reminded"),
    "not_reminded": integer("others"),
}  # fmt: skip
_EFFECT_EXPLANATION: Final = """Registries count whose days after the reminder are over, also those from before the
weeks of this report. The ranges in brackets are 95 % confidence intervals; with groups of fewer than 30 registries
there is none for pieces. This is not an experiment: registries are not reminded when their registrants unsubscribed, a
mail failed or their shop sends none, and such registries may differ in other ways."""
_FUNNEL_EXPLANATION: Final = """A *visit* is what one visitor did with one registry in one week, which begins on Monday
in the shop's time zone. It reached a step if it did that or a later one. The *weakest step* is the one that was reached
by the smallest share of the visits that had reached the step before. The black lines are 95 % confidence intervals;
shares of fewer than 30 visits are not drawn, and a week is hollow while it is not over in every time zone: guests who
looked today may buy tomorrow."""


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
    """Visits on the filter's days, and purchases after reminders until their last, or until `now`.

    Its frame: shop, event type and week.
    """

    report_filter: ReportFilter
    now: datetime

    def count(self, db: AnalystsDatabase, progress: Progress = ignore_progress) -> ConversionFigures:
        """Count the visits and the purchases after reminders."""
        visits, reminded = [], []
        tables: Sequence[TableName] = ("registries", "events", "reminders", "purchases")
        until = self._end_of_known_days()
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
            "conversion-report-funnel": to_rows(funnel, _TABLE_COLUMNS),
            "conversion-report-reminders": to_rows(_with_ranges(effect), _EFFECT_TABLE_COLUMNS),
        }
        body = _body(figures, self._begin_of_open_week())
        body = f"{scope('What guests did', self.report_filter, self.report_filter.days)}\n\n{body}"
        return ReportResult(Page(_verdict(figures.visits), body, tables), funnel)

    def _begin_of_open_week(self) -> date:
        """The Monday from which on a week of the report is not over, or has days after the report's last."""
        end = self._end_of_known_days()
        return end - timedelta(days=end.weekday())

    def _end_of_known_days(self) -> date:
        """The first day that is not over in every time zone, or the one after the report's last if that is earlier."""
        over, last = (self.now - _LATEST_TIMEZONE).date(), self.report_filter.days.last
        return min(over, last + timedelta(days=1)) if last else over


def _verdict(visits: pd.DataFrame) -> str:
    [total] = analytics.funnel(visits, ()).to_dict("records")
    if not total["viewed"]:
        return "No visit in these weeks."
    conversion = (
        f"{format_percent(total['conversion'])} of {pluralize(int(total['viewed']), 'visit')} ended in a purchase"
    )
    if pd.isna(total["gives_up"]):
        return f"{conversion}."
    before, step = total["gives_up"].split(" → ")
    weakest = f"of {total[before]:,} that {_STEPS[before]}, {format_percent(total[step], total[before])} {_STEPS[step]}"
    return f"{conversion}; the weakest step: {weakest}."


def _body(figures: ConversionFigures, open_week: date) -> str:
    event_types, shops = (_funnel_by(figures.visits, level) for level in ("event_type", "shop"))
    return "\n\n".join(
        [
            _draw(figures, event_types, open_week),
            f"## By event type\n\n{to_markdown(event_types, _TYPE_COLUMNS, PAGE_ROWS)}",
            f"## By shop\n\n{to_markdown(shops, _SHOP_COLUMNS, PAGE_ROWS)}",
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
    table = to_markdown(_with_ranges(effect), _EFFECT_COLUMNS, PAGE_ROWS)
    return f"{units}, {other_units}: {total['finding']}.\n\n{table}\n\n{_EFFECT_EXPLANATION}"


def _format_units(mean: float) -> str:
    return "(no data)" if pd.isna(mean) else f"{mean:.2f} pieces"


def _with_ranges(effect: pd.DataFrame) -> pd.DataFrame:
    return effect.assign(
        units=with_ranges(effect["units_difference"], effect["units_low"], effect["units_high"], "{:+.2f}".format),
        share=with_ranges(
            effect["share_difference"], effect["share_low"], effect["share_high"], percentage_points("").format
        ),
    )


def _funnel_by(visits: pd.DataFrame, level: str) -> pd.DataFrame:
    """The funnel by shop or event type: the highest conversion first, and those with too few visits last."""
    funnel = analytics.funnel(visits, (level,))
    order = funnel.assign(few=funnel["viewed"] < MIN_VISITS).sort_values(["few", "conversion"], ascending=[True, False])
    return order.drop(columns="few")


def _draw(figures: ConversionFigures, event_types: pd.DataFrame, open_week: date) -> str:
    total = analytics.funnel(figures.visits, ())
    panels: list[Panel] = [
        BarChart("The way to a gift", "visits", list(_STEPS.values()), [float(total[step].iloc[0]) for step in _STEPS]),
        _by_week(analytics.funnel(figures.visits, ("week",)), open_week),
        _by_event_type(event_types),
        _pieces(analytics.reminder_effect(figures.reminded).iloc[0]),
    ]
    return markdown_image(
        draw(panels), "How many visits reached each step; conversion by week and event type; what reminders do"
    )


def _by_week(weeks: pd.DataFrame, open_week: date) -> TimeSeries:
    """The weeks' conversions; the headline has that of the last one that is over."""
    conversion, mondays = _drawable(weeks), [week.date() for week in weeks["week"]]
    over = [share for share, monday in zip(conversion, mondays, strict=True) if monday < open_week]
    latest = ("too few to tell" if over[-1] is None else format_percent(over[-1], 100)) if over else "no data"
    return TimeSeries(
        "Conversion by week",
        f"last full week: {latest}",
        mondays,
        conversion,
        "%",
        above=False,
        missing=f"fewer than {MIN_VISITS} visits",
        ranges=_ranges(weeks, conversion),
        open_values=len(conversion) - len(over),
        unfinished="a week that is not over",
    )


def _by_event_type(event_types: pd.DataFrame) -> BarChart:
    values = _drawable(event_types)
    return BarChart(
        "Conversion",
        "by event type",
        [f"{name}: {visits:,}" for name, visits in zip(event_types["event_type"], event_types["viewed"], strict=True)],
        values,
        "%",
        ranges=_ranges(event_types, values),
        missing="too few to tell",
    )


def _pieces(effect: "pd.Series[Any]") -> BarChart:
    is_known = not pd.isna(effect["units_low"])
    return BarChart(
        "Pieces given",
        effect["finding"],
        [f"reminded: {effect['reminded']:,}", f"not reminded: {effect['not_reminded']:,}"],
        [round(float(mean), 2) if is_known else None for mean in effect[["units_reminded", "units_not_reminded"]]],
        missing=f"each needs {MIN_SIZE_FOR_MEANS} registries",
    )


def _ranges(funnel: pd.DataFrame, conversion: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """The intervals of the conversions that are drawn, in percent."""
    low, high = share_interval(funnel["purchased"], funnel["viewed"], _CONFIDENCE)
    return [
        None if share is None else (100 * least, 100 * most)
        for share, least, most in zip(conversion, low, high, strict=True)
    ]


def _drawable(funnel: pd.DataFrame) -> list[float | None]:
    """The conversions in percent; None where visits are too few to tell."""
    shares = zip(to_percentages(funnel["conversion"]), funnel["viewed"], strict=True)
    return [share if visits >= MIN_VISITS else None for share, visits in shares]
