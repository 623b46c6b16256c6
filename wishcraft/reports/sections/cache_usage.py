"""The section on each shop's use of the cache since the previous report. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, NamedTuple

from wishcraft.domain import times
from wishcraft.domain.work_results import join_names
from wishcraft.reports.page import Row, Section, format_bytes, percent_cell, pluralize, short_name

GOOD_HIT_RATIO: Final = 0.8
FULL: Final = 0.9
"""Share of the quota or the memory from which on it counts as full."""
_ENTRIES: Final = "entries (of quota)"
_SIZE: Final = "size (of quota)"
_READS, _HITS, _EVICTIONS = "reads", "hits", "evictions"
"""Columns of counts so far, from which the next report subtracts."""
_MIN_READS: Final = 100
"""Reads below which a hit ratio is not judged."""


class CacheUse(NamedTuple):
    """A shop's reads of registries, hits (including stale ones) and evictions so far, and what Redis holds now."""

    shop: str
    reads: int
    hits: int
    evictions: int
    entries: int
    """Registries and variants."""
    products: int
    """Variants."""
    entries_allowed: int
    bytes_held: int
    bytes_allowed: int


class ServerMemory(NamedTuple):
    """Bytes that Redis uses and its limit (0: none), and the keys evicted since its start."""

    used: int
    limit: int
    evicted: int


def rows(uses: Sequence[CacheUse]) -> list[Row]:
    """The rows of the table artifact, from which the next report subtracts."""
    return [
        {
            "shop": short_name(use.shop),
            _READS: use.reads,
            _HITS: use.hits,
            _EVICTIONS: use.evictions,
            _ENTRIES: _entries(use),
            _SIZE: _size(use),
        }
        for use in uses
    ]


def since(uses: Sequence[CacheUse], previous: Sequence[Mapping[str, Any]]) -> list[CacheUse]:
    """Subtract the rows of the previous report; counters that were reset since then count from zero."""
    by_shop = {row["shop"]: row for row in previous if _READS in row}  # before 1.7, tables had other columns
    return [_since(use, by_shop.get(short_name(use.shop))) for use in uses]


def section(
    uses: Sequence[CacheUse], memory: ServerMemory, counted_since: datetime | None, zone: tzinfo = UTC
) -> Section:
    """A row for each shop, the lowest hit ratio first, with advice."""
    poor = [use for use in uses if _is_poor(use)]
    at_quota = [use.shop for use in poor if use.evictions and _is_full(use)]
    advice = []
    if at_quota:
        advice.append(f"**Raise the quota** of {join_names(at_quota)} with the job `shop-settings`.")
    if others := [use.shop for use in poor if use.shop not in at_quota]:
        advice.append(
            f"**Few hits**, and the quota is not the cause: {join_names(others)}. Check the runs of `cache-warm`."
        )
    if memory.limit and memory.used > FULL * memory.limit:
        advice.append("**Redis is nearly full**: raise its `maxmemory`, or lower quotas.")
    since_when = f"since {times.minute(counted_since, zone)}" if counted_since else "since counting began"
    limit = f" of {format_bytes(memory.limit)}" if memory.limit else ", without a limit"
    text = (
        f"Counted {since_when}. Redis uses {format_bytes(memory.used)}{limit}; "
        f"it evicted {memory.evicted:,} keys since its start."
    )
    finding = pluralize(len(poor), "shop") + " with few hits in the cache" if poor else ""
    if memory.limit and memory.used > FULL * memory.limit:
        finding = "; ".join(filter(None, [finding, "Redis's memory"]))
    header = ("shop", "hits", "evicted", _ENTRIES, _SIZE)  # as narrow as a phone
    by_ratio = sorted(uses, key=lambda use: (use.hits / use.reads if use.reads else 1, -use.reads))
    return Section(
        "Cache", " ".join([text, *(advice or ["Nothing to do."])]), header, list(map(_row, by_ratio)), finding
    )


def _since(use: CacheUse, row: Mapping[str, Any] | None) -> CacheUse:
    if row is None or row[_READS] > use.reads or row[_HITS] > use.hits or row[_EVICTIONS] > use.evictions:
        return use
    return use._replace(
        reads=use.reads - row[_READS],
        hits=use.hits - row[_HITS],
        evictions=use.evictions - row[_EVICTIONS],
    )


def _is_poor(use: CacheUse) -> bool:
    return use.reads >= _MIN_READS and use.hits < GOOD_HIT_RATIO * use.reads


def _is_full(use: CacheUse) -> bool:
    return use.entries >= FULL * use.entries_allowed or use.bytes_held >= FULL * use.bytes_allowed


def _row(use: CacheUse) -> tuple[str, ...]:
    return (
        short_name(use.shop),
        f"{percent_cell(use.hits, use.reads)} of {pluralize(use.reads, 'read')}",
        f"{use.evictions:,}",
        f"{_entries(use)}, {pluralize(use.products, 'variant')}",
        _size(use),
    )


def _entries(use: CacheUse) -> str:
    return f"{use.entries:,} ({percent_cell(use.entries, use.entries_allowed)})"


def _size(use: CacheUse) -> str:
    return f"{format_bytes(use.bytes_held)} ({percent_cell(use.bytes_held, use.bytes_allowed)})"
