"""Read the analysts' tables in chunks of whole registries, for the functions of `wishcraft.analytics`.

Memory does not grow with the number of registries. While one chunk is counted, the next is read.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import pandas as pd

from wishcraft.analytics.database import AnalystsDatabase, Shop
from wishcraft.analytics.filters import ReportFilter, TableName
from wishcraft.analytics.tables import TABLES
from wishcraft.domain.batches import batches
from wishcraft.domain.periods import Days

REGISTRIES_PER_CHUNK: Final = 2_000
ALL_DAYS: Final = Days()
_NO_SHOP: Final = Shop(0, "", "", "UTC", has_app=True)
Progress = Callable[[int, int], None]
"""Called between chunks with the registries done and their total; it may raise to stop the report."""
Chunk = dict[TableName, pd.DataFrame]


def ignore_progress(_done: int, _total: int) -> None:
    """A `Progress` that does nothing."""


class _Batch(NamedTuple):
    shop: Shop
    ids: Sequence[int]


def read_chunks(
    db: AnalystsDatabase,
    report_filter: ReportFilter,
    tables: Sequence[TableName],
    progress: Progress = ignore_progress,
    *,
    created: Days = ALL_DAYS,
    happened: Days = ALL_DAYS,
) -> Iterator[Chunk]:
    """Read the tables' rows of the filter's registries. Without registries there is one empty chunk.

    Args:
        db: The analysts' database.
        report_filter: Its shops and event types; its days are ignored.
        tables: `registries` and the others to read.
        progress: Called between chunks.
        created: The days of the registries' creation.
        happened: The days of the events.

    Raises:
        QueryRefused, ConfigurationError, DatabaseUnavailable: As `AnalystsDatabase`.
    """
    pending = [
        _Batch(shop, ids)
        for shop in db.find_shops(report_filter.shops)
        for ids in batches(
            db.find_registries(shop, report_filter.event_types, *created.moments(shop.timezone)), REGISTRIES_PER_CHUNK
        )
    ]
    done, total = 0, sum(len(batch.ids) for batch in pending)
    if not pending:
        yield _with_shop({name: TABLES[name].empty().to_pandas() for name in tables}, _NO_SHOP)
    with ThreadPoolExecutor(1) as reader:
        reading = [reader.submit(_read, db, batch, tables, happened) for batch in pending[:1]]
        for place, batch in enumerate(pending):
            progress(done, total)
            chunk = reading.pop().result()
            reading += [
                reader.submit(_read, db, following, tables, happened) for following in pending[place + 1 : place + 2]
            ]
            yield chunk
            done += len(batch.ids)
        progress(done, total)


def _read(db: AnalystsDatabase, batch: _Batch, tables: Sequence[TableName], happened: Days) -> Chunk:
    since, until = happened.moments(batch.shop.timezone)
    chunk = {name: db.read(name, batch.shop, batch.ids, since, until).to_pandas() for name in tables}
    return _with_shop(chunk, batch.shop)


def _with_shop(chunk: Chunk, shop: Shop) -> Chunk:
    registries = chunk["registries"].assign(
        shop=shop.domain, currency=shop.currency, timezone=shop.timezone, has_app=shop.has_app
    )
    return chunk | {"registries": registries}
