"""The analysts' tables: the query and the column types of each. Money is in ten-thousandths (`_e4`)."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from psycopg import Cursor
from pyarrow import csv

from wishcraft.analytics.filters import TableName
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.domain.registries import LIVE_PURCHASES

_TEXT: Final = pa.dictionary(pa.int32(), pa.string())
"""The type of texts with few distinct values: rows are indices, which take a fraction of the memory."""
_MOMENT: Final = pa.timestamp("us", tz="UTC")
_DAY: Final = pa.timestamp("s")
_TYPES: Final = list(AnalyticsType)
_CODES: Final = "CASE type {} END".format(
    " ".join(f"WHEN '{kind}' THEN '\\x{code:02x}'::bytea" for code, kind in enumerate(_TYPES))
)
_PACKED: Final = np.dtype([("visitor", ">i8"), ("occurred_at", ">i8"), ("type", "u1")])
"""The bytes of an event from PostgreSQL's send functions: big-endian numbers, microseconds since 2000."""
_SINCE_1970: Final = 946_684_800_000_000
_LIVE: Final = ", ".join(f"'{status}'" for status in sorted(LIVE_PURCHASES))


class Table(NamedTuple):
    """A query for the rows of a shop's registries `ids`; events only from `since` to before `until`."""

    query: str
    columns: Mapping[str, pa.DataType]
    packed: bool = False
    """Whether a registry's rows come as one value of bytes, which halves the time to read the many events."""

    def empty(self) -> pa.Table:
        """A table without rows."""
        return pa.schema(list(self.columns.items())).empty_table()


TABLES: Final[Mapping[TableName, Table]] = {
    "registries": Table(
        """SELECT registry_id, event_type, status, visibility, created_at, event_date
        FROM registries WHERE shop_id = %(shop_id)s AND registry_id = ANY(%(ids)s)""",
        {"registry_id": pa.int64(), "event_type": _TEXT, "status": _TEXT, "visibility": _TEXT, "created_at": _MOMENT,
         "event_date": _DAY},
    ),
    "items": Table(
        """SELECT registry_id, item_id, product_id, variant_id, product_title, variant_title, quantity_wanted,
            (price * 10000)::bigint, currency, tracked, inventory_quantity, inventory_policy, status, created_at
        FROM items WHERE shop_id = %(shop_id)s AND registry_id = ANY(%(ids)s)""",
        {"registry_id": pa.int64(), "item_id": pa.int64(), "product_id": pa.int64(), "variant_id": pa.int64(),
         "product_title": _TEXT, "variant_title": _TEXT, "wanted": pa.int64(), "price_e4": pa.int64(),
         "currency": _TEXT, "tracked": pa.bool_(), "stock": pa.int64(), "policy": _TEXT, "status": _TEXT,
         "created_at": _MOMENT},
    ),
    "purchases": Table(
        f"""SELECT registry_id, item_id, guest, gift, quantity, (unit_price * 10000)::bigint, created_at
        FROM purchases WHERE shop_id = %(shop_id)s AND registry_id = ANY(%(ids)s) AND status IN ({_LIVE})""",  # noqa: S608  ours
        {"registry_id": pa.int64(), "item_id": pa.int64(), "guest": pa.int64(), "gift": pa.int64(),
         "quantity": pa.int64(), "unit_e4": pa.int64(), "created_at": _MOMENT},
    ),
    "events": Table(
        # One lookup per registry: otherwise PostgreSQL reads all of the shop's events of these days for every chunk.
        f"""SELECT chosen.registry_id, packed
        FROM unnest(%(ids)s::bigint[]) AS chosen (registry_id) CROSS JOIN LATERAL (
            SELECT string_agg(int8send(visitor) || timestamptz_send(occurred_at) || {_CODES}, ''::bytea) AS packed
            FROM events WHERE shop_id = %(shop_id)s AND registry_id = chosen.registry_id
                AND occurred_at >= coalesce(%(since)s::timestamptz, '-infinity')
                AND occurred_at < coalesce(%(until)s::timestamptz, 'infinity')
        ) AS of_registry WHERE packed IS NOT NULL""",  # noqa: S608  ours
        {"registry_id": pa.int64(), "visitor": pa.int64(), "type": _TEXT, "occurred_at": _MOMENT},
        packed=True,
    ),
    "reminders": Table(
        """SELECT registry_id, kind, event_date, state
        FROM reminders WHERE shop_id = %(shop_id)s AND registry_id = ANY(%(ids)s)""",
        {"registry_id": pa.int64(), "kind": _TEXT, "event_date": _DAY, "state": _TEXT},
    ),
}  # fmt: skip


def read_table(cursor: Cursor[Any], table: Table, parameters: Mapping[str, object]) -> pa.Table:
    """Run the query and return its rows."""
    return _unpack(cursor, table, parameters) if table.packed else _read_csv(cursor, table, parameters)


def _read_csv(cursor: Cursor[Any], table: Table, parameters: Mapping[str, object]) -> pa.Table:
    sink = pa.BufferOutputStream()
    with cursor.copy(f"COPY ({table.query}) TO STDOUT (FORMAT csv)", parameters) as rows:
        for block in rows:
            sink.write(block)
    content = sink.getvalue()
    if not content.size:
        return table.empty()
    return csv.read_csv(
        pa.BufferReader(content),
        csv.ReadOptions(column_names=list(table.columns), use_threads=False),
        csv.ParseOptions(newlines_in_values=True),
        csv.ConvertOptions(column_types=dict(table.columns), true_values=["t"], false_values=["f"]),
    )


def _unpack(cursor: Cursor[Any], table: Table, parameters: Mapping[str, object]) -> pa.Table:
    rows = cursor.execute(table.query, parameters, binary=True).fetchall()
    events = np.frombuffer(b"".join(packed for _, packed in rows), _PACKED)
    counts = [len(packed) // _PACKED.itemsize for _, packed in rows]
    codes = pa.array(events["type"].astype("int32"))
    columns = {
        "registry_id": np.repeat([registry_id for registry_id, _ in rows], counts).astype("int64"),
        "visitor": events["visitor"].astype("int64"),
        "type": pa.DictionaryArray.from_arrays(codes, pa.array([str(kind) for kind in _TYPES])),
        "occurred_at": pa.array(events["occurred_at"].astype("int64") + _SINCE_1970).cast(_MOMENT),
    }
    return pa.table(columns, pa.schema(list(table.columns.items())))
