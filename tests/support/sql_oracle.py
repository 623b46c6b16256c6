"""Figures found by SQL alone, from the tables that the application writes; `figures/` holds a statement for each."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pandas.testing import assert_frame_equal
from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier
from psycopg.types.numeric import FloatLoader

from wishcraft.analytics.reader import EVERYTHING, ReportFilter
from wishcraft.domain.periods import Days

_FOLDER: Final = Path(__file__).parent / "figures"
_SHARED: Final = ("chosen", "live", "wishes", "fulfilled", "products", "lead", "coming", "stock")
"""What other statements may read from, each from those before it."""
Tables = Connection[tuple[Any, ...]]


def find_by_sql(
    tables: Tables,
    figure: str,
    question: ReportFilter,
    by: Sequence[str] = (),
    *,
    created: Days = EVERYTHING,
    now: datetime | None = None,
    today: date | None = None,
    weeks: int = 1,
    limit: int = 1_000_000,
) -> pd.DataFrame:
    """What `figures/<figure>.sql` finds of the registries that were `created` on those days, grouped `by` columns."""
    parameters = {
        "shops": list(question.shops), "event_types": list(question.event_types),
        "created_first": created.first, "created_last": created.last,
        "happened_first": question.days.first, "happened_last": question.days.last,
        "now": now, "today": today, "weeks": weeks, "limit": limit,
    }  # fmt: skip
    with tables.cursor() as cursor:
        cursor.adapters.register_loader("numeric", FloatLoader)
        cursor.execute(_statement(figure, by), parameters)
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()], dtype="O")


def assert_same(found: pd.DataFrame, by_sql: pd.DataFrame, figure: str) -> None:
    """The frames have the same columns and the same rows in the same order; floats may differ in their last digits."""
    assert list(found) == list(by_sql), figure
    typed = by_sql.astype(found.dtypes.to_dict())
    assert_frame_equal(found.reset_index(drop=True), typed, rtol=1e-9, atol=1e-12, obj=figure)


def _statement(figure: str, by: Sequence[str]) -> Composed:
    shared = [SQL("{} AS ({})").format(Identifier(name), _read(name)) for name in _SHARED]
    names = [Identifier(name) for name in by]
    each = SQL("").join([SQL("{}, ").format(name) for name in names])
    asked = _read(figure).format(each=each, by=SQL(", ").join(names))
    return SQL("WITH {} SELECT * FROM ({}) AS asked").format(SQL(", ").join(shared), asked)


def _read(figure: str) -> SQL:
    return SQL((_FOLDER / f"{figure}.sql").read_text("utf-8"))
