"""What every analysis does with its frames: add up the counts of chunks, sum them, tell a shop's local time. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.typing import DataFrameGroupBy

_DAYS_BEFORE: Final = 3
"""From the Monday of its week to 1 January 1970, from which NumPy counts."""


def add(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The counts of several chunks as one: rows of the same index are summed. Of no part, a frame without columns."""
    counts = list(parts)
    if not counts:
        return pd.DataFrame()
    whole = pd.concat(counts)
    return whole.groupby(level=list(range(whole.index.nlevels)), dropna=False).sum()


def total(counts: pd.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """These columns of the counts, summed for each combination of the index's levels `by`, which become columns.

    Without `by` it is one row, also of no counts. What `add` makes of no part is taken for no counts.
    """
    known = counts.reset_index() if len(counts) else _without_rows(by, columns)
    return flat(grouped(known, by)[list(columns)].sum(), by)


def grouped(frame: pd.DataFrame, by: Sequence[str]) -> "DataFrameGroupBy[Any, Literal[True]]":
    """The rows by these columns; without any, all of them as one group, which is there even if it has no rows."""
    if by:
        return frame.groupby(list(by), observed=True)
    return frame.groupby(pd.CategoricalIndex([0] * len(frame), categories=[0]), observed=False)


def flat(figures: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """A row for each group of `grouped`, with what it was grouped by as its first columns."""
    return figures.reset_index(drop=not by)


def as_text(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with these columns as plain text: two chunks' categories differ."""
    return frame.astype(dict.fromkeys(columns, "str"))


def local_times(times: pd.Series, timezones: pd.Series) -> npt.NDArray[np.datetime64]:
    """What clocks show at each moment where its time zone is. Rows correspond."""
    moments = pd.DatetimeIndex(times)
    local = np.full(len(times), "NaT", "datetime64[us]")
    codes, names = pd.factorize(timezones)
    for code, name in enumerate(names):
        there = codes == code
        local[there] = moments[there].tz_convert(name).tz_localize(None).to_numpy()
    return local


def local_week(times: pd.Series, timezones: pd.Series) -> pd.Series:
    """The Monday, as datetime64[s], of the week that each moment lies in where its time zone is. Rows correspond."""
    days = local_times(times, timezones).astype("datetime64[D]")
    since_monday = (days.astype("int64") + _DAYS_BEFORE) % 7
    return pd.Series((days - since_monday.astype("timedelta64[D]")).astype("datetime64[s]"), times.index)


def local_month(times: pd.Series, timezones: pd.Series) -> pd.Series:
    """The first, as datetime64[s], of the month that each moment lies in where its time zone is. Rows correspond."""
    months = local_times(times, timezones).astype("datetime64[M]")
    return pd.Series(months.astype("datetime64[s]"), times.index)


def _without_rows(by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=[*by, *columns]).astype(dict.fromkeys(columns, "int64"))
