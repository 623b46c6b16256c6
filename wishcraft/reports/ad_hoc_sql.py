"""Run an analyst's own SELECT on the views: a page with a plot, a table and a frame."""

import re
from typing import Any, Final

import pandas as pd
from pandas.api import types

from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.analytics.select_text import wrap_sql
from wishcraft.reports.analyst_report import ReportResult
from wishcraft.reports.page import Page, pluralize
from wishcraft.reports.plots import BarChart, TimeSeries, draw, markdown_image
from wishcraft.reports.tables import Column, iso_date, shorten_labels, to_markdown, to_rows

_PAGE_ROWS: Final = 20
_BARS: Final = 12
_DECIMALS: Final = ((100, 1), (1, 2), (0, 4))
"""Pairs: the least largest number of a column, and its decimals."""
_EQUAL: Final = 1e-9
"""The difference of two numbers that are shown alike."""
_PANELS: Final = 8
"""Columns of numbers that are drawn."""
_SQL_CHARACTERS: Final = 68
"""Length of a line of SQL that the Prefect UI shows without cutting it."""
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
    columns = {name: _column(frame, name) for name in _names(frame)}
    code = f"```sql\n{wrap_sql(sql.strip().replace('```', ''), _SQL_CHARACTERS)}\n```"
    body = "\n\n".join([_plot(frame), to_markdown(frame, columns, _PAGE_ROWS), code])
    return ReportResult(Page(verdict, body, {"ask": to_rows(frame, columns)}), frame)


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns]


def _column(frame: pd.DataFrame, name: str) -> Column:
    if types.is_datetime64_any_dtype(frame[name]):
        midnights = (frame[name].dropna() == frame[name].dropna().dt.normalize()).all()
        zone = " UTC" if frame[name].dt.tz else ""  # a timestamp without a zone is none of the views
        return iso_date(name) if midnights else Column(name, f"{{:%Y-%m-%d %H:%M:%S}}{zone}".format)
    if not _is_measure(frame, name):
        return Column(name, _cut)
    return Column(name, "{:,}".format if types.is_integer_dtype(frame[name]) else _decimals(frame[name]).format)


def _decimals(numbers: pd.Series) -> str:
    """The format of a column's fractions: the smaller its numbers, the more decimals, but no more than they have."""
    finite = numbers[numbers.abs() < _MAX_DRAWN].astype(float)
    most = next((digits for bound, digits in _DECIMALS if finite.abs().max() >= bound), _DECIMALS[-1][1])
    digits = next((digits for digits in range(most) if ((finite - finite.round(digits)).abs() < _EQUAL).all()), most)
    return f"{{:,.{digits}f}}"


def _is_measure(frame: pd.DataFrame, name: str) -> bool:
    """Whether the column is a number other than an id."""
    number = types.is_numeric_dtype(frame[name]) and not types.is_bool_dtype(frame[name])
    return number and not (types.is_integer_dtype(frame[name]) and _ID.search(name))


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]}…"


def _plot(frame: pd.DataFrame) -> str:
    """Plot the measures by the first column, if that has days or words; else say why there is no plot."""
    measures = [name for name in _names(frame)[1:] if _is_measure(frame, name)]
    if not measures:
        return f"*No plot: no later column counts or measures. {_PLOT_HELP}*"
    label = str(frame.columns[0])
    points = frame[frame[label].notna()].astype(dict.fromkeys(measures, float))
    points[measures] = points[measures].where(points[measures].abs() < _MAX_DRAWN)
    points = points.dropna(subset=measures, how="all")
    if points.empty:
        return f"*No plot: there is nothing to draw. {_PLOT_HELP}*"
    if types.is_numeric_dtype(points[label]) and not types.is_bool_dtype(points[label]):
        return f"*No plot: `{label}` has numbers; `::text` turns them into words. {_PLOT_HELP}*"
    if points[label].astype(str).duplicated().any():
        return f"*No plot: `{label}` has the same value in several rows. {_PLOT_HELP}*"
    drawn, rest = measures[:_PANELS], len(measures) - _PANELS
    panels = [_panel(points, label, measure) for measure in drawn]
    picture = markdown_image(draw(panels), f"{', '.join(drawn)} by {label}")
    return f"{picture}\n\n*{pluralize(rest, 'more column')} of numbers: in the table.*" if rest > 0 else picture


def _panel(points: pd.DataFrame, label: str, measure: str) -> BarChart | TimeSeries:
    if types.is_datetime64_any_dtype(points[label]):
        points = points.sort_values(label)
        return TimeSeries(measure, f"by {label}", list(points[label]), _values(points[measure]), "", above=False)
    points = points.head(_BARS)
    return BarChart(measure, f"by {label}", shorten_labels(points[label]), _values(points[measure]))


def _values(numbers: pd.Series) -> list[float | None]:
    return [None if pd.isna(number) else float(number) for number in numbers]
