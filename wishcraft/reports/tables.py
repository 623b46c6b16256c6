"""Format the columns and cells of data frames for tables in Markdown and in the Prefect UI."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Any, Final, NamedTuple
from unicodedata import east_asian_width

import pandas as pd

from wishcraft.domain.currencies import decimals, symbol
from wishcraft.reports.markdown import table
from wishcraft.reports.page import Row, percent_cell, short_name

NO_VALUE: Final = "–"  # noqa: RUF001  an en dash, as typographers use for an empty cell
"""The cell of a missing value, such as a share of zero."""
_LABEL_CHARACTERS: Final = 48
_MAX_ROWS: Final = 1_000
"""Rows of each table artifact in the Prefect UI; a file has every row."""
BOX: Final = 702
"""Pixels: the width of a table in the Prefect UI, in a window of 1,400."""
_CELL_PADDING, _LETTER, _FIGURE = 16, 7.1, 8.6
"""Pixels of its cells' margins and of its characters."""
_LEAST_CHARACTERS: Final = 16
"""Characters that a text keeps, even if its table gets too wide."""


class Column(NamedTuple):
    """The title of a column, the format of its values, and whether they are names that may be cut."""

    title: str
    format: Callable[[Any], str] = str
    is_cut: bool = False


def integer(title: str) -> Column:
    """A column of numbers without a fraction."""
    return Column(title, "{:,.0f}".format)


def decimal(title: str) -> Column:
    """A column of numbers with one decimal."""
    return Column(title, "{:,.1f}".format)


def percentage(title: str) -> Column:
    """A column of shares between 0 and 1, formatted as percentages with as many decimals in each row."""
    return Column(title, percent_cell)


def percentage_points(title: str) -> Column:
    """A column of differences between shares, formatted as percentage points."""
    return Column(title, lambda difference: f"{100 * difference:+.2f} points")


def shop(title: str = "shop") -> Column:
    """A column of shops by their short names."""
    return Column(title, short_name)


def iso_date(title: str) -> Column:
    """A column of dates, formatted as `2026-03-14`."""
    return Column(title, "{:%Y-%m-%d}".format)


def format_money(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """A copy of the frame with these columns formatted as money of each row's `currency`: `$12.50`, `¥1,500`."""
    formatted = frame.copy()
    for name in columns:
        formatted[name] = [
            None if pd.isna(amount) else f"{symbol(currency)}{amount:,.{decimals(currency)}f}"
            for amount, currency in zip(frame[name], frame["currency"], strict=True)
        ]
    return formatted


def product_names(frame: pd.DataFrame) -> pd.Series:
    """The names of the frame's variants: `Linen Tablecloth, Natural`."""
    return (frame["product_title"] + ", " + frame["variant_title"]).str.removesuffix(", ")


def with_ranges(values: pd.Series, lows: pd.Series, highs: pd.Series, form: Callable[[float], str]) -> pd.Series:
    """Format values with their intervals: `5.2 (3.1 to 8.4)`; without a value, or a bound, that part is missing."""
    texts = [
        None
        if pd.isna(value)
        else form(value)
        if pd.isna(low) or pd.isna(high)
        else f"{form(value)} ({form(low)} to {form(high)})"
        for value, low, high in zip(values, lows, highs, strict=True)
    ]
    return pd.Series(texts, values.index, dtype="str")


def to_markdown(frame: pd.DataFrame, columns: Mapping[str, Column], limit: int) -> str:
    """Format the first `limit` rows as a Markdown table, followed by the number of rows left out.

    It does not say where those are: the page may be a file without Prefect, whose artifact links to the tables.
    """
    text = table([column.title for column in columns.values()], to_cells(frame.head(limit), columns))
    rest = len(frame) - limit
    return f"{text}\n\n… and {rest:,} more, not on this page." if rest > 0 else text


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


def to_rows(frame: pd.DataFrame, columns: Mapping[str, Column]) -> list[Row]:
    """The first `_MAX_ROWS` rows for a table artifact, whose cells the Prefect UI shows as they are: formatted texts.

    Names that may be cut are cut to what the other columns leave of the Prefect UI's box.
    """
    titles = [column.title for column in columns.values()]
    cells = to_cells(frame.head(_MAX_ROWS), columns)
    widths = [
        max(map(_pixels, [title, *column])) for title, column in zip(titles, zip(*cells, strict=True), strict=False)
    ]
    too_wide = sum(widths) + _CELL_PADDING * len(titles) - BOX
    if widths and too_wide > 0:
        for place in (place for place, column in enumerate(columns.values()) if column.is_cut):
            for row in cells:
                row[place] = _fit(row[place], widths[place] - too_wide)
    return [dict(zip(titles, row, strict=True)) for row in cells]


def _fit(name: str, pixels: float) -> str:
    """The name, cut to `pixels`, if it keeps `_LEAST_CHARACTERS` then."""
    characters = max(_LEAST_CHARACTERS, int(pixels / _LETTER))
    [fitting] = shorten_labels([name], characters)
    while _pixels(fitting) > pixels and characters > _LEAST_CHARACTERS:
        characters -= 1
        [fitting] = shorten_labels([name], characters)
    return fitting


def _pixels(text: str) -> float:
    """About how wide the Prefect UI shows a text, generously: its figures and capitals are wider than other letters."""
    wide = sum(2 if east_asian_width(each) in "FW" else each.isdigit() or each.isupper() for each in text)
    return _LETTER * len(text) + (_FIGURE - _LETTER) * wide


def to_percentages(shares: pd.Series) -> list[float | None]:
    """Shares as percentages, for a chart; a missing one, as of nothing, is None."""
    return [None if pd.isna(share) else float(100 * share) for share in shares]


def shorten_labels(labels: Iterable[object], max_characters: int = _LABEL_CHARACTERS) -> list[str]:
    """Labels of a chart in one line, cut at a word if there is one; a wide character, as of Japanese, counts as two."""
    return [_shorten(" ".join(str(label).split()), max_characters) for label in labels]


def _shorten(text: str, most: int) -> str:
    ends = list(accumulate(2 if east_asian_width(character) in "FW" else 1 for character in text))
    if not ends or ends[-1] <= most:
        return text
    fitting = bisect_right(ends, most - 2)  # the rest is for the ellipsis
    return f"{text[: text.rfind(' ', 0, fitting + 1)] if ' ' in text[: fitting + 1] else text[:fitting]} …"
