"""Format the columns and cells of data frames for tables in Markdown and in the Prefect UI."""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple
from unicodedata import east_asian_width

import pandas as pd

from wishcraft.domain.registry_payload import decimals
from wishcraft.reports.markdown import table
from wishcraft.reports.page import Row

NO_VALUE: Final = "–"  # noqa: RUF001  an en dash, as typographers use for an empty cell
"""The cell of a missing value, such as a share of zero."""
_LABEL_CHARACTERS: Final = 28


class Column(NamedTuple):
    """The title of a column, and the format of its values."""

    title: str
    format: Callable[[Any], str] = str


def integer(title: str) -> Column:
    """A column of numbers without a fraction."""
    return Column(title, "{:,.0f}".format)


def decimal(title: str) -> Column:
    """A column of numbers with one decimal."""
    return Column(title, "{:,.1f}".format)


def percentage(title: str) -> Column:
    """A column of shares between 0 and 1, formatted as percentages."""
    return Column(title, "{:.1%}".format)


def percentage_points(title: str) -> Column:
    """A column of differences between shares, formatted as percentage points."""
    return Column(title, lambda difference: f"{100 * difference:+.1f} points")


def iso_date(title: str) -> Column:
    """A column of dates, formatted as `2026-03-14`."""
    return Column(title, "{:%Y-%m-%d}".format)


def format_money(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """A copy of the frame with these columns formatted with the decimals of each row's `currency`."""
    formatted = frame.copy()
    for name in columns:
        formatted[name] = [
            None if pd.isna(amount) else f"{amount:,.{decimals(currency)}f}"
            for amount, currency in zip(frame[name], frame["currency"], strict=True)
        ]
    return formatted


def to_markdown(frame: pd.DataFrame, columns: Mapping[str, Column], limit: int) -> str:
    """Format the first `limit` rows as a Markdown table, followed by the number of rows left out."""
    text = table([column.title for column in columns.values()], to_cells(frame.head(limit), columns))
    rest = len(frame) - limit
    return f"{text}\n\n… and {rest:,} more: see the run's tables." if rest > 0 else text


def to_cells(frame: pd.DataFrame, columns: Mapping[str, Column]) -> list[list[str]]:
    """Format the columns' values as text, row by row."""
    formatted = [
        [
            NO_VALUE if missing else column.format(value)
            for value, missing in zip(frame[name], frame[name].isna(), strict=True)
        ]
        for name, column in columns.items()
    ]
    return [list(row) for row in zip(*formatted, strict=True)]


def to_rows(frame: pd.DataFrame, limit: int) -> list[Row]:
    """The first `limit` rows for a Prefect table artifact: numbers stay numbers, missing values become empty texts."""
    plain = frame.head(limit).copy()
    for name in plain.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in plain.dtypes]]:
        plain[name] = plain[name].astype(str)
    return [{str(name): _to_cell(value) for name, value in row.items()} for row in plain.to_dict("records")]


def to_percentages(shares: pd.Series) -> list[float]:
    """Shares as percentages with one decimal, for a chart; missing ones are 0."""
    return [float(value) for value in (100 * shares.fillna(0)).round(1)]


def shorten_labels(labels: Iterable[object], max_characters: int = _LABEL_CHARACTERS) -> list[str]:
    """Labels of a chart in one line, cut at a word if there is one; a wide character, as of Japanese, counts as two."""
    return [_shorten(" ".join(str(label).split()), max_characters) for label in labels]


def _shorten(text: str, most: int) -> str:
    ends = list(accumulate(2 if east_asian_width(character) in "FW" else 1 for character in text))
    if not ends or ends[-1] <= most:
        return text
    fitting = bisect_right(ends, most - 2)  # the rest is for the ellipsis
    return f"{text[: text.rfind(' ', 0, fitting + 1)] if ' ' in text[: fitting + 1] else text[:fitting]} …"


def _to_cell(value: Any) -> str | int | float:
    if pd.isna(value):
        return ""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else str(value)  # JSON has no infinity
    cell: str | int = value
    return cell
