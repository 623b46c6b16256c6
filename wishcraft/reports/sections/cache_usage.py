"""How shops use their share of the cache, from one report to the next. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from wishcraft.domain.work_results import join_names
from wishcraft.reports.page import Row, Section, counted, percent, size

GOOD_HIT_RATIO: Final = 0.8
FULL: Final = 0.9
"""Of the quota or the memory: from here on, entries are given up for others."""
_ENTRIES: Final = "entries (of quota)"
_SIZE: Final = "size (of quota)"
_FEW_READS: Final = 100
"""Fewer say little about a ratio."""


class CacheUse(NamedTuple):
    """A shop's reads, hits (stale ones too) and evictions since they are counted, and what its entries take now."""

    shop: str
    reads: int
    hits: int
    evictions: int
    entries: int
    entries_allowed: int
    bytes_held: int
    bytes_allowed: int


class ServerMemory(NamedTuple):
    """Bytes that Redis uses and may use (0: no limit), and the keys that it has evicted since it started."""

    used: int
    limit: int
    evicted: int


def rows(uses: Sequence[CacheUse]) -> list[Row]:
    """A table that a later report can count from."""
    return [
        {
            "shop": use.shop,
            _ENTRIES: _entries(use),
            _SIZE: _size(use),
            "reads so far": use.reads,
            "hits so far": use.hits,
            "evictions so far": use.evictions,
        }
        for use in uses
    ]


def since(uses: Sequence[CacheUse], earlier: Sequence[Mapping[str, Any]]) -> list[CacheUse]:
    """What has come since an earlier report left its rows; a shop whose counters began anew counts from there."""
    by_shop = {row["shop"]: row for row in earlier}
    return [_since(use, by_shop.get(use.shop)) for use in uses]


def section(uses: Sequence[CacheUse], memory: ServerMemory, began: datetime | None) -> Section:
    """A row for each shop, those that miss the most first, and what to do about it."""
    poor = [use for use in uses if _is_poor(use)]
    small = [use.shop for use in poor if use.evictions and _is_full(use)]
    advice = []
    if small:
        advice.append(f"**Raise the quota** (`cache_quota_entries`, `cache_quota_bytes`) of {join_names(small)}.")
    if others := [use.shop for use in poor if use.shop not in small]:
        advice.append(f"**Few hits**, with room left: {join_names(others)}. Are the runs of `cache-warm` well?")
    if memory.limit and memory.used > FULL * memory.limit:
        advice.append("**Redis is nearly full**: raise its `maxmemory`, or lower quotas.")
    since_when = f"since {began:%b %d %H:%M} (UTC)" if began else "since counting began"
    limit = f" of {size(memory.limit)}" if memory.limit else ", without a limit"
    text = (
        f"Counted {since_when}. Redis uses {size(memory.used)}{limit}; "
        f"it evicted {memory.evicted:,} keys since its start."
    )
    finding = counted(len(poor), "shop") + " with few hits in the cache" if poor else ""
    if memory.limit and memory.used > FULL * memory.limit:
        finding = "; ".join(filter(None, [finding, "Redis's memory"]))
    header = ("shop", "hit ratio", "reads", "evictions", _ENTRIES, _SIZE)
    by_ratio = sorted(uses, key=lambda use: (use.hits / use.reads if use.reads else 1, -use.reads))
    return Section(
        "Cache", " ".join([text, *(advice or ["Nothing to do."])]), header, list(map(_row, by_ratio)), finding
    )


def _since(use: CacheUse, row: Mapping[str, Any] | None) -> CacheUse:
    if row is None or row["reads so far"] > use.reads or row["evictions so far"] > use.evictions:
        return use
    return use._replace(
        reads=use.reads - row["reads so far"],
        hits=use.hits - row["hits so far"],
        evictions=use.evictions - row["evictions so far"],
    )


def _is_poor(use: CacheUse) -> bool:
    return use.reads >= _FEW_READS and use.hits < GOOD_HIT_RATIO * use.reads


def _is_full(use: CacheUse) -> bool:
    return use.entries >= FULL * use.entries_allowed or use.bytes_held >= FULL * use.bytes_allowed


def _row(use: CacheUse) -> tuple[str, ...]:
    return (
        use.shop,
        percent(use.hits, use.reads),
        f"{use.reads:,}",
        f"{use.evictions:,}",
        _entries(use),
        _size(use),
    )


def _entries(use: CacheUse) -> str:
    return f"{use.entries:,} ({percent(use.entries, use.entries_allowed)})"


def _size(use: CacheUse) -> str:
    return f"{size(use.bytes_held)} ({percent(use.bytes_held, use.bytes_allowed)})"
