"""PostgreSQL's own statistics about the queries, tables and indexes of this database."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession


class SlowQuery(NamedTuple):
    """A normalized query, without values, from pg_stat_statements."""

    text: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float


class TableUse(NamedTuple):
    """Row counts, vacuum, scans and sizes of a table; `bytes_all` includes its indexes."""

    name: str
    live: int
    dead: int
    vacuumed: datetime | None
    scans: int
    rows_scanned: int
    index_reads: int
    bytes_all: int
    bytes_of_indexes: int


class IndexUse(NamedTuple):
    """Scans and sizes of an index; `dense` is its estimated size in bytes after REINDEX, 0 if unknown."""

    name: str
    table: str
    uses: int
    is_constraint: bool
    size: int
    dense: int


_NOT_PRELOADED: Final = "55000"  # object_not_in_prerequisite_state
_HAS_STATEMENTS: Final = text("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')")
_SLOW: Final = text("""
SELECT query, calls, total_exec_time, mean_exec_time, max_exec_time FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC LIMIT :limit
""")
_TABLES: Final = text("""
SELECT s.relname, greatest(s.n_live_tup, c.reltuples::bigint), s.n_dead_tup,
    greatest(s.last_vacuum, s.last_autovacuum), s.seq_scan, s.seq_tup_read, coalesce(s.idx_scan, 0),
    pg_total_relation_size(s.relid), pg_indexes_size(s.relid)
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
WHERE s.schemaname = current_schema() ORDER BY s.relname
""")
# A leaf entry of a B-tree takes its columns' width and about 16 bytes (header, line pointer, alignment), and a page is
# filled to 90 %: https://www.postgresql.org/docs/18/btree.html. Deduplication may need less, never more.
_INDEXES: Final = text("""
SELECT c.relname, t.relname, coalesce(u.idx_scan, 0), i.indisunique OR i.indisexclusion, pg_relation_size(c.oid),
    CASE WHEN m.amname = 'btree' AND c.reltuples > 0 AND i.indexprs IS NULL
        THEN (c.reltuples * (w.width + 16) / 0.9)::bigint ELSE 0 END
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = current_schema()
JOIN pg_am m ON m.oid = c.relam
LEFT JOIN pg_stat_user_indexes u ON u.indexrelid = i.indexrelid
CROSS JOIN LATERAL (
    SELECT coalesce(sum(coalesce(s.avg_width, 8)), 8) AS width
    FROM pg_attribute a
    LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = t.relname AND s.attname = a.attname
    WHERE a.attrelid = t.oid AND a.attnum = ANY(i.indkey)
) w
ORDER BY c.relname
""")
_COUNTING_SINCE: Final = text("SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()")


async def find_slow_queries(session: AsyncSession, limit: int) -> list[SlowQuery] | None:
    """The normalized queries with the most total time; None if pg_stat_statements is missing or not preloaded."""
    if not (await session.execute(_HAS_STATEMENTS)).scalar_one():
        return None
    try:
        async with session.begin_nested():
            return [SlowQuery._make(row) for row in await session.execute(_SLOW, {"limit": limit})]
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _NOT_PRELOADED:
            return None
        raise


async def find_tables(session: AsyncSession) -> list[TableUse]:
    """All tables, ordered by name; row counts are PostgreSQL's estimates."""
    return [TableUse._make(row) for row in await session.execute(_TABLES)]


async def find_indexes(session: AsyncSession) -> list[IndexUse]:
    """All indexes, ordered by name."""
    return [IndexUse._make(row) for row in await session.execute(_INDEXES)]


async def find_counting_since(session: AsyncSession) -> datetime | None:
    """When the statistics of this database were last reset; None for never."""
    since: datetime | None = (await session.execute(_COUNTING_SINCE)).scalar_one()
    return since
