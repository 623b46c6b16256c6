"""Reads what analysts ask about, chunk by chunk, and lets the rules of `domain.analytics` make figures of it.

A chunk holds some thousand whole registries, so memory does not grow with how many there are; while one is worked on,
the next is read.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import pandas as pd

from wishcraft.analytics.database import AnalystsDatabase, Shop
from wishcraft.analytics.tables import TABLES, TableName
from wishcraft.domain.batches import batches
from wishcraft.domain.periods import Days

REGISTRIES_AT_ONCE: Final = 2_000
EVERYTHING: Final = Days()
_NOBODY: Final = Shop(0, "", "", "UTC")
Progress = Callable[[int, int], None]
"""Told between two chunks how many registries are done, of how many; it may raise to end the work."""
Chunk = dict[TableName, pd.DataFrame]


def unwatched(_done: int, _total: int) -> None:
    """For callers that do not watch."""


@dataclass(frozen=True, slots=True)
class ReportFilter:
    """Which registries a report is about, or events on them: of these shops and event types, or all; on these days."""

    shops: Sequence[str] = ()
    event_types: Sequence[str] = ()
    days: Days = field(default_factory=Days)


class _Batch(NamedTuple):
    shop: Shop
    ids: Sequence[int]


def read_chunks(
    db: AnalystsDatabase,
    question: ReportFilter,
    tables: Sequence[TableName],
    progress: Progress = unwatched,
    *,
    created: Days = EVERYTHING,
    happened: Days = EVERYTHING,
) -> Iterator[Chunk]:
    """The tables' rows of the registries that were `created` on those days, and of their events that `happened` then.

    `tables` names `registries` and what else is wanted. Where no registry is found there is one chunk, an empty one.

    Raises:
        QuestionRefused, ConfigurationError, DatabaseUnavailable: As `AnalystsDatabase`.
    """
    found = [
        _Batch(shop, ids)
        for shop in db.find_shops(question.shops)
        for ids in batches(
            db.find_registries(shop, question.event_types, *created.moments(shop.timezone)), REGISTRIES_AT_ONCE
        )
    ]
    done, total = 0, sum(len(batch.ids) for batch in found)
    if not found:
        yield _with_shop({name: TABLES[name].empty().to_pandas() for name in tables}, _NOBODY)
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(_read, db, batch, tables, happened) for batch in found[:1]]
        for place, batch in enumerate(found):
            progress(done, total)
            chunk = coming.pop().result()
            coming += [reader.submit(_read, db, each, tables, happened) for each in found[place + 1 : place + 2]]
            yield chunk
            done += len(batch.ids)
        progress(done, total)


def _read(db: AnalystsDatabase, batch: _Batch, tables: Sequence[TableName], happened: Days) -> Chunk:
    since, until = happened.moments(batch.shop.timezone)
    chunk = {name: db.read(name, batch.shop, batch.ids, since, until).to_pandas() for name in tables}
    return _with_shop(chunk, batch.shop)


def _with_shop(chunk: Chunk, shop: Shop) -> Chunk:
    told = {"shop": shop.domain, "currency": shop.currency, "timezone": shop.timezone}
    return chunk | {"registries": chunk["registries"].assign(**told)}
