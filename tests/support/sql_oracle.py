"""The analysts' figures computed in SQL from the application's tables, to compare with `wishcraft.analytics`.

`figures/` has a statement for each figure.
"""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Final

import pandas as pd
from pandas.testing import assert_frame_equal
from psycopg.sql import SQL, Composed, Identifier
from psycopg.types.numeric import FloatLoader

from tests.support.aliases import Demo
from wishcraft.analytics.filters import ReportFilter
from wishcraft.analytics.reader import ALL_DAYS
from wishcraft.domain.periods import Days

_FOLDER: Final = Path(__file__).parent / "figures"
_SHARED: Final = ("chosen", "live", "item_sales", "fulfilled", "products", "lead", "open_items", "stock")
"""Statements that others may read from, each from those before it."""
Tables = Demo


def query_oracle(
    tables: Tables,
    figure: str,
    report_filter: ReportFilter,
    by: Sequence[str] = (),
    *,
    created: Days = ALL_DAYS,
    now: datetime | None = None,
    today: date | None = None,
    weeks: int = 1,
    limit: int = 1_000_000,
) -> pd.DataFrame:
    """Run `figures/<figure>.sql` on the filter's registries `created` on those days, grouped by the columns `by`."""
    parameters = {
        "shops": list(report_filter.shops), "event_types": list(report_filter.event_types),
        "created_first": created.first, "created_last": created.last,
        "happened_first": report_filter.days.first, "happened_last": report_filter.days.last,
        "now": now, "today": today, "weeks": weeks, "limit": limit,
    }  # fmt: skip
    with tables.cursor() as cursor:
        cursor.adapters.register_loader("numeric", FloatLoader)
        cursor.execute(_statement(figure, by), parameters)
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()], dtype="O")


def assert_same(actual: pd.DataFrame, expected: pd.DataFrame, figure: str) -> None:
    """Compare columns and rows, in order; floats may differ in their last digits."""
    assert list(actual) == list(expected), figure
    typed = expected.astype(actual.dtypes.to_dict())
    assert_frame_equal(actual.reset_index(drop=True), typed, rtol=1e-9, atol=1e-12, obj=figure)


def _statement(figure: str, by: Sequence[str]) -> Composed:
    shared = [SQL("{} AS ({})").format(Identifier(name), _read(name)) for name in _SHARED]
    names = [Identifier(name) for name in by]
    each = SQL("").join([SQL("{}, ").format(name) for name in names])
    select = _read(figure).format(each=each, by=SQL(", ").join(names))
    return SQL("WITH {} SELECT * FROM ({}) AS figure").format(SQL(", ").join(shared), select)


def _read(figure: str) -> SQL:
    return SQL((_FOLDER / f"{figure}.sql").read_text("utf-8"))
