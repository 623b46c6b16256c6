"""Passes a person's question on to the views, and shows what comes back: a page with a plot, a table, a frame."""

import re
from typing import Any, Final

import numpy as np
import pandas as pd
from pandas.api import types

from wishcraft.analytics.database import AnalystsDatabase
from wishcraft.reports.analyst_report import ReportResult
from wishcraft.reports.page import Page, counted
from wishcraft.reports.plots import Bars, Days, draw, image
from wishcraft.reports.tables import Column, day, decimal, markdown, rows, short

READ: Final = 20
"""Rows that a person reads on the page."""
SHOWN: Final = 1_000
"""Rows in the table of the Prefect UI; a file holds them all."""
_BARS: Final = 12
_LETTERS: Final = 200
"""Of a text, on the page and in the table."""
_ID: Final = re.compile(r"(^|_)(id|visitor|guest|gift)(_\d+)?$")
_TO_PLOT: Final = "A plot takes days or words in the first column, each in one row, and numbers in a later one."


def answer(db: AnalystsDatabase, question: str, most: int, seconds: int) -> ReportResult:
    """What the SELECT finds: `most` rows of it, in `seconds`.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `AnalystsDatabase.ask`.
    """
    found = db.ask(question, most, seconds)
    frame = found.head(most)
    more = ", and there are more: ask for more rows, or for less" if len(found) > most else ""
    verdict = f"{counted(len(frame), 'row')} of {counted(len(frame.columns), 'column')}{more}."
    code = f"```sql\n{question.strip().replace('```', '')}\n```"
    parts = [code, _plot(frame), markdown(frame, {name: _column(frame, name) for name in _names(frame)}, READ)]
    return ReportResult(Page(verdict, "\n\n".join(parts), {"ask": rows(_brief(frame.head(SHOWN)), SHOWN)}), frame)


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns]


def _column(frame: pd.DataFrame, name: str) -> Column:
    if types.is_datetime64_any_dtype(frame[name]):
        midnights = (frame[name].dropna() == frame[name].dropna().dt.normalize()).all()
        return day(name) if midnights else Column(name, "{:%Y-%m-%d %H:%M:%S}".format)
    if not _is_figure(frame, name):
        return Column(name, _cut)
    return Column(name, "{:,}".format) if types.is_integer_dtype(frame[name]) else decimal(name)


def _is_figure(frame: pd.DataFrame, name: str) -> bool:
    """Whether the column counts or measures: an id does not."""
    number = types.is_numeric_dtype(frame[name]) and not types.is_bool_dtype(frame[name])
    return number and not (types.is_integer_dtype(frame[name]) and _ID.search(name))


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"


def _brief(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with what is no figure as texts, also ids: browsers round numbers that are as long."""
    texts = [name for name in _names(frame) if not _is_figure(frame, name)]
    return frame.assign(**{name: frame[name].astype(object).map(_cut, na_action="ignore") for name in texts})


def _plot(frame: pd.DataFrame) -> str:
    """The first figure along the first column, if that is made of days or of words; else why there is no plot."""
    figures = [name for name in _names(frame)[1:] if _is_figure(frame, name)]
    if not figures:
        return f"*No plot: no later column counts or measures. {_TO_PLOT}*"
    label, figure = str(frame.columns[0]), figures[0]
    told = frame[[label, figure]].dropna().astype({figure: float})
    told = told[np.isfinite(told[figure])]
    if told.empty:
        return f"*No plot: there is nothing to draw. {_TO_PLOT}*"
    if types.is_numeric_dtype(told[label]) and not types.is_bool_dtype(told[label]):
        return f"*No plot: `{label}` is of numbers, which `::text` makes words. {_TO_PLOT}*"
    if told[label].astype(str).duplicated().any():
        return f"*No plot: `{label}` has the same value in several rows. {_TO_PLOT}*"
    return image(draw([_panel(told, label, figure)], columns=1), f"{figure} by {label}")


def _panel(told: pd.DataFrame, label: str, figure: str) -> Bars | Days:
    if types.is_datetime64_any_dtype(told[label]):
        told = told.sort_values(label)
        return Days(figure, "", list(told[label]), told[figure].tolist(), "", above=False)
    told = told.head(_BARS)
    return Bars(figure, f"by {label}", short(told[label]), told[figure].tolist())
