"""What PostgreSQL counts about itself: queries, tables and indexes of this database."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession


class SlowQuery(NamedTuple):
    """A kind of query; its text has no values in it."""

    text: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float


class TableUse(NamedTuple):
    """A table, its rows that live and that are dead, how it is read, and its bytes with those of its indexes."""

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
    """An index, how often it was used, its bytes, and what they would be if it was built anew (0: not known)."""

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
    """The kinds of queries that took the most time; None if `pg_stat_statements` is not there, or does not count."""
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
    """Every table by name; the rows are PostgreSQL's estimates."""
    return [TableUse._make(row) for row in await session.execute(_TABLES)]


async def find_indexes(session: AsyncSession) -> list[IndexUse]:
    """Every index by name."""
    return [IndexUse._make(row) for row in await session.execute(_INDEXES)]


async def find_counting_since(session: AsyncSession) -> datetime | None:
    """Since when PostgreSQL counts the uses of tables and indexes; None is from the database's beginning."""
    since: datetime | None = (await session.execute(_COUNTING_SINCE)).scalar_one()
    return since
