"""The result of an analyst's query as a frame: every type of PostgreSQL can be shown and written to a file."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import pandas as pd
from psycopg import Cursor, postgres
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import TextLoader


def _oid(name: str) -> int:
    return postgres.types[name].oid


_MAX_DIGITS: Final = 4_000
"""Of an integer: Python refuses to read longer ones."""
_NUMERIC: Final = _oid("numeric")
_INTEGERS: Final = frozenset(map(_oid, ("int2", "int4", "int8", "oid")))
_TIMES: Final = frozenset(map(_oid, ("date", "timestamp", "timestamptz")))


class _NumericLoader(Loader):
    """Load a numeric: as an integer without a fraction, such as a sum of integers; as text if it is too large."""

    def load(self, data: Buffer) -> int | float | str:
        text = bytes(data).decode()
        if text.lstrip("-").isdigit() and len(text) < _MAX_DIGITS:
            return int(text) if _is_finite(int(text)) else text
        number = float(text)
        return text if math.isinf(number) and "Infinity" not in text else number


_AS_USUAL: Final = frozenset({*_INTEGERS, *map(_oid, ("bool", "float4", "float8"))})
_OF_THE_CALENDAR: Final = re.compile(r"\d{4}-\d\d-\d\d(?: [\d:.+-]+)?")
"""A day or time that is neither infinite nor before Christ nor after the year 9999."""


def register_loaders(cursor: Cursor[Any], types: Sequence[int]) -> None:
    """Load numbers and truth values of these types as such, and every other type as PostgreSQL writes it."""
    for kind in set(types) - _AS_USUAL:
        cursor.adapters.register_loader(kind, _NumericLoader if kind == _NUMERIC else TextLoader)


def make_frame(columns: Sequence[tuple[str, int]], rows: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """The rows as a frame; `columns` are the names, which are made unique, and the types."""
    series = [_series([row[place] for row in rows], kind) for place, (_, kind) in enumerate(columns)]
    frame = pd.DataFrame(dict(enumerate(series)), index=range(len(rows)))
    return frame.set_axis(_unique([name for name, _ in columns]), axis="columns")


def _series(values: list[Any], kind: int) -> "pd.Series[Any]":
    """The values as a Series; integers are never converted to floats, which are exact only up to 2 ** 53."""
    if kind == _NUMERIC and any(isinstance(value, str) for value in values):
        return pd.Series([None if value is None else str(value) for value in values], dtype="str")
    if kind in _TIMES:
        if not all(_OF_THE_CALENDAR.fullmatch(value) for value in values if value is not None):
            return pd.Series(values, dtype="str")
        return pd.Series(pd.to_datetime(values, format="ISO8601", utc=kind == _oid("timestamptz")))
    if kind in _INTEGERS or (kind == _NUMERIC and all(_is_int64(value) for value in values if value is not None)):
        integers = pd.Series(values, dtype="Int64")
        return integers if integers.hasnans else integers.astype("int64")
    return pd.Series(values, dtype="float64" if kind == _NUMERIC else None)


def _is_int64(value: float) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _is_finite(value: int) -> bool:
    """Whether a float can hold the integer, however roughly."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _unique(names: Sequence[str]) -> list[str]:
    """The names, repeated ones with the first number that makes them unlike all others."""
    unique = dict[str, None]()
    given, numbers = set(names), Counter[str]()
    for name in names:
        candidate = name
        while candidate in unique or (numbers[name] and candidate in given):
            numbers[name] += 1
            candidate = f"{name}_{numbers[name] + 1}"
        unique[candidate] = None
    return list(unique)
