"""Writes figures for people: a frame as a table of Markdown or of the Prefect UI, each column in its own way."""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import pandas as pd

from wishcraft.domain.registry_payload import decimals
from wishcraft.reports.markdown import table
from wishcraft.reports.page import Row

NOTHING: Final = "–"  # noqa: RUF001  typographers write a dash for nothing
"""Stands where there is no figure, such as a share of none."""
_LETTERS: Final = 28


class Column(NamedTuple):
    """What a column is called, and how its figures are written."""

    title: str
    write: Callable[[Any], str] = str


def whole(title: str) -> Column:
    """A number without a fraction."""
    return Column(title, "{:,.0f}".format)


def decimal(title: str) -> Column:
    """A number with one digit after the point."""
    return Column(title, "{:,.1f}".format)


def share(title: str) -> Column:
    """A share, which is written in per cent."""
    return Column(title, "{:.1%}".format)


def points(title: str) -> Column:
    """A difference of shares, which is written in points of a per cent."""
    return Column(title, lambda difference: f"{100 * difference:+.1f} points")


def day(title: str) -> Column:
    """A date."""
    return Column(title, "{:%Y-%m-%d}".format)


def priced(frame: pd.DataFrame, amounts: Iterable[str]) -> pd.DataFrame:
    """The frame with these columns written as amounts of each row's `currency`."""
    written = frame.copy()
    for name in amounts:
        written[name] = [
            None if pd.isna(amount) else f"{amount:,.{decimals(currency)}f}"
            for amount, currency in zip(frame[name], frame["currency"], strict=True)
        ]
    return written


def markdown(frame: pd.DataFrame, columns: Mapping[str, Column], most: int) -> str:
    """The first rows of these columns as Markdown; with a last line that says how many more there are, and where."""
    written = table([column.title for column in columns.values()], cells(frame.head(most), columns))
    more = len(frame) - most
    return f"{written}\n\n… and {more:,} more: see the run's tables." if more > 0 else written


def cells(frame: pd.DataFrame, columns: Mapping[str, Column]) -> list[list[str]]:
    """The columns' figures as text, row by row."""
    written = [
        [
            NOTHING if missing else column.write(value)
            for value, missing in zip(frame[name], frame[name].isna(), strict=True)
        ]
        for name, column in columns.items()
    ]
    return [list(row) for row in zip(*written, strict=True)]


def rows(frame: pd.DataFrame, most: int) -> list[Row]:
    """The first rows for a table of the Prefect UI: numbers as numbers, all else as text; what is missing as ``."""
    plain = frame.head(most).copy()
    for name in plain.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in plain.dtypes]]:
        plain[name] = plain[name].astype(str)
    return [{str(name): _cell(value) for name, value in row.items()} for row in plain.to_dict("records")]


def percents(shares: pd.Series) -> list[float]:
    """Shares as bars have them: in per cent, with one digit after the point, none as 0."""
    return [float(value) for value in (100 * shares.fillna(0)).round(1)]


def short(names: Iterable[object], letters: int = _LETTERS) -> list[str]:
    """Names as bars have them."""
    return [textwrap.shorten(str(name), letters, placeholder=" …") for name in names]


def _cell(value: Any) -> str | int | float:
    if pd.isna(value):
        return ""
    return round(value, 4) if isinstance(value, float) else value
