"""Run an analyst's own SELECT on the views: a page with a plot, a table and a frame."""

import re
from typing import Any, Final

import pandas as pd
from pandas.api import types

from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.reports.analyst_report import TABLE_ROWS, ReportResult
from wishcraft.reports.page import Page, pluralize
from wishcraft.reports.plots import BarChart, TimeSeries, draw, markdown_image
from wishcraft.reports.tables import Column, decimal, iso_date, shorten_labels, to_markdown, to_rows

_PAGE_ROWS: Final = 20
_BARS: Final = 12
_MAX_DRAWN: Final = 1e300
"""The margin of a plot's axis must be finite too."""
_MAX_CHARACTERS: Final = 200
"""Length of a text on the page and in the table artifact; a file has all of it."""
_ID: Final = re.compile(r"(^|_)(id|visitor|guest|gift)(_\d+)?$")
_PLOT_HELP: Final = (
    "A plot needs days or words in the first column, each in only one row, and numbers in a later column."
)


def run_query(db: AnalystsDatabase, sql: str, max_rows: int, seconds: int) -> ReportResult:
    """Run the SELECT and render its first `max_rows` rows.

    Raises:
        QueryRefused, ConfigurationError, DatabaseUnavailable: As `AnalystsDatabase.query`.
    """
    rows = db.query(sql, max_rows, seconds)
    frame = rows.head(max_rows)
    more = ", and there are more: raise the limit of rows, or select fewer" if len(rows) > max_rows else ""
    verdict = f"{pluralize(len(frame), 'row')} of {pluralize(len(frame.columns), 'column')}{more}."
    code = f"```sql\n{sql.strip().replace('```', '')}\n```"
    table = to_markdown(frame, {name: _column(frame, name) for name in _names(frame)}, _PAGE_ROWS)
    body = "\n\n".join([code, _plot(frame), table])
    return ReportResult(Page(verdict, body, {"ask": to_rows(_cut_texts(frame.head(TABLE_ROWS)), TABLE_ROWS)}), frame)


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns]


def _column(frame: pd.DataFrame, name: str) -> Column:
    if types.is_datetime64_any_dtype(frame[name]):
        midnights = (frame[name].dropna() == frame[name].dropna().dt.normalize()).all()
        return iso_date(name) if midnights else Column(name, "{:%Y-%m-%d %H:%M:%S}".format)
    if not _is_measure(frame, name):
        return Column(name, _cut)
    return Column(name, "{:,}".format) if types.is_integer_dtype(frame[name]) else decimal(name)


def _is_measure(frame: pd.DataFrame, name: str) -> bool:
    """Whether the column is a number other than an id."""
    number = types.is_numeric_dtype(frame[name]) and not types.is_bool_dtype(frame[name])
    return number and not (types.is_integer_dtype(frame[name]) and _ID.search(name))


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"


def _cut_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with everything but measures as short texts, ids included: browsers round numbers of that length."""
    texts = [name for name in _names(frame) if not _is_measure(frame, name)]
    return frame.assign(**{name: frame[name].astype(object).map(_cut, na_action="ignore") for name in texts})


def _plot(frame: pd.DataFrame) -> str:
    """Plot the first measure by the first column, if that has days or words; else say why there is no plot."""
    measures = [name for name in _names(frame)[1:] if _is_measure(frame, name)]
    if not measures:
        return f"*No plot: no later column counts or measures. {_PLOT_HELP}*"
    label, measure = str(frame.columns[0]), measures[0]
    points = frame[[label, measure]].dropna().astype({measure: float})
    points = points[points[measure].abs() < _MAX_DRAWN]
    if points.empty:
        return f"*No plot: there is nothing to draw. {_PLOT_HELP}*"
    if types.is_numeric_dtype(points[label]) and not types.is_bool_dtype(points[label]):
        return f"*No plot: `{label}` has numbers; `::text` turns them into words. {_PLOT_HELP}*"
    if points[label].astype(str).duplicated().any():
        return f"*No plot: `{label}` has the same value in several rows. {_PLOT_HELP}*"
    return markdown_image(draw([_panel(points, label, measure)], columns=1), f"{measure} by {label}")


def _panel(points: pd.DataFrame, label: str, measure: str) -> BarChart | TimeSeries:
    if types.is_datetime64_any_dtype(points[label]):
        points = points.sort_values(label)
        return TimeSeries(measure, "", list(points[label]), points[measure].tolist(), "", above=False)
    points = points.head(_BARS)
    return BarChart(measure, f"by {label}", shorten_labels(points[label]), points[measure].tolist())
