"""Passes a person's question on to the views, and shows what comes back: a page with a plot, a table, a frame."""

from typing import Final

import pandas as pd
from pandas.api import types

from wishcraft.domain.maintenance import Page, counted
from wishcraft.plots import Bars, Days, draw, image
from wishcraft.services.analysing import Answer
from wishcraft.services.figures import Column, day, decimal, markdown, rows, short, whole
from wishcraft.store.analysts import AnalystsDatabase

READ: Final = 20
"""Rows that a person reads on the page."""
SHOWN: Final = 1_000
"""Rows in the table of the Prefect UI; a file holds them all."""
_BARS: Final = 12


def answer(db: AnalystsDatabase, question: str, most: int, seconds: int) -> Answer:
    """What the SELECT finds: `most` rows of it, in `seconds`.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `AnalystsDatabase.ask`.
    """
    found = db.ask(question, most, seconds)
    frame = found.head(most)
    more = ", and there are more: ask for more rows, or for less" if len(found) > most else ""
    verdict = f"{counted(len(frame), 'row')} of {counted(len(frame.columns), 'column')}{more}."
    code = f"```sql\n{question.strip().replace('```', '')}\n```"
    parts = [code, *_plot(frame), markdown(frame, {name: _column(frame, name) for name in _names(frame)}, READ)]
    return Answer(Page(verdict, "\n\n".join(parts), {"ask": rows(frame, SHOWN)}), frame)


def _names(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns]


def _column(frame: pd.DataFrame, name: str) -> Column:
    if types.is_bool_dtype(frame[name]):
        return Column(name)
    if types.is_datetime64_any_dtype(frame[name]):
        midnights = (frame[name].dropna() == frame[name].dropna().dt.normalize()).all()
        return day(name) if midnights else Column(name, "{:%Y-%m-%d %H:%M:%S}".format)
    if types.is_integer_dtype(frame[name]):
        return whole(name) if not name.endswith("id") else Column(name)
    return decimal(name) if types.is_numeric_dtype(frame[name]) else Column(name)


def _plot(frame: pd.DataFrame) -> list[str]:
    """The first figure along the first column, if that is made of days or of words; else nothing."""
    figures = [name for name in _names(frame)[1:] if types.is_numeric_dtype(frame[name])]
    if frame.empty or not figures:
        return []
    label, figure = str(frame.columns[0]), figures[0]
    told = frame[[label, figure]].dropna()
    if types.is_datetime64_any_dtype(told[label]):
        told = told.sort_values(label)
        panel: Bars | Days = Days(
            figure, "", list(told[label].dt.date), told[figure].astype(float).tolist(), "", above=False
        )
    elif types.is_numeric_dtype(told[label]):
        return []
    else:
        told = told.head(_BARS)
        panel = Bars(figure, f"by {label}", short(told[label]), told[figure].astype(float).tolist())
    return [image(draw([panel], columns=1), f"{figure} by {label}")]
