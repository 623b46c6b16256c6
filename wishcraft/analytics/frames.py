"""Helpers for frames: sums over chunks and groups, local times of shops, items with their sales. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.typing import DataFrameGroupBy

from wishcraft.domain.registries import ItemStatus

_EPOCH_WEEKDAY: Final = 3
"""Days from Monday to 1 January 1970, a Thursday, from which NumPy counts."""


def add(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Sum the counts of several chunks by their index. Without parts it is a frame without columns."""
    counts = list(parts)
    if not counts:
        return pd.DataFrame()
    joined = pd.concat(counts)
    return joined.groupby(level=list(range(joined.index.nlevels)), dropna=False).sum()


def total(counts: pd.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Sum these columns of the counts for each combination of the index levels `by`, which become columns.

    Without `by` it is one row, even without counts. The result of `add` without parts has no counts.
    """
    rows = counts.reset_index() if len(counts) else _without_rows(by, columns)
    return flat(grouped(rows, by)[list(columns)].sum(), by)


def grouped(frame: pd.DataFrame, by: Sequence[str]) -> "DataFrameGroupBy[Any, Literal[True]]":
    """Group the rows by these columns; without columns, all rows are one group, which exists even without rows."""
    if by:
        return frame.groupby(list(by), observed=True)
    return frame.groupby(pd.CategoricalIndex([0] * len(frame), categories=[0]), observed=False)


def flat(figures: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Turn the group keys of `grouped` into the first columns."""
    return figures.reset_index(drop=not by)


def as_text(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with these columns as text instead of categories: the categories of two chunks differ."""
    return frame.astype(dict.fromkeys(columns, "str"))


def local_times(times: pd.Series, timezones: pd.Series) -> npt.NDArray[np.datetime64]:
    """The local time of each moment in the time zone of the same row."""
    moments = pd.DatetimeIndex(times)
    local = np.full(len(times), "NaT", "datetime64[us]")
    codes, names = pd.factorize(timezones)
    for code, name in enumerate(names):
        rows = codes == code
        local[rows] = moments[rows].tz_convert(name).tz_localize(None).to_numpy()
    return local


def local_week(times: pd.Series, timezones: pd.Series) -> pd.Series:
    """The Monday of each moment's week, as datetime64[s], in the time zone of the same row."""
    days = local_times(times, timezones).astype("datetime64[D]")
    since_monday = (days.astype("int64") + _EPOCH_WEEKDAY) % 7
    return pd.Series((days - since_monday.astype("timedelta64[D]")).astype("datetime64[s]"), times.index)


def local_month(times: pd.Series, timezones: pd.Series) -> pd.Series:
    """The first day of each moment's month, as datetime64[s], in the time zone of the same row."""
    months = local_times(times, timezones).astype("datetime64[M]")
    return pd.Series(months.astype("datetime64[s]"), times.index)


def days_left(rows: pd.DataFrame) -> pd.Series:
    """Days from each row's `created_at` to its `event_date`: 0 on that day, negative after it.

    The day of `created_at` is that of the row's `timezone`.
    """
    day = local_times(rows["created_at"], rows["timezone"]).astype("datetime64[D]").astype("datetime64[s]")
    left: pd.Series = (rows["event_date"] - pd.Series(day, rows.index)).dt.days
    return left


def with_sales(items: pd.DataFrame, purchases: pd.DataFrame) -> pd.DataFrame:
    """The items, in their order, with four more columns. An item that was removed, which is `hidden`, wants nothing.

    is_listed: Whether the item is on its registry: false if it was removed after a purchase.
    sold: The quantity of the item's live purchases.
    bought: The part of it that is wanted: the lesser of sold and wanted.
    value_e4: The sum of quantity times unit_e4 of the item's live purchases.
    """
    amounts = pd.DataFrame(
        {
            "item_id": purchases["item_id"],
            "sold": purchases["quantity"],
            "value_e4": purchases["quantity"] * purchases["unit_e4"].astype("float64"),  # 64 bits may not hold it
        }
    )
    sales = amounts.groupby("item_id").sum().reindex(items["item_id"], fill_value=0).set_axis(items.index)
    is_listed = items["status"] != ItemStatus.HIDDEN
    wanted = items["wanted"].where(is_listed, 0)
    return items.assign(
        is_listed=is_listed,
        wanted=wanted,
        sold=sales["sold"],
        bought=sales["sold"].clip(upper=wanted),
        value_e4=sales["value_e4"],
    )


def _without_rows(by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(columns=[*by, *columns]).astype(dict.fromkeys(columns, "int64"))
