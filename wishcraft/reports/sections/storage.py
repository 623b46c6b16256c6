"""The sections on PostgreSQL: slow queries, sizes, dead rows, missing, unused and bloated indexes. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final

from wishcraft.domain import times
from wishcraft.reports.page import Row, Section, format_bytes, percent_cell, pluralize, redacted_line
from wishcraft.store.statistics import IndexUse, SlowQuery, TableUse

MANY_ROWS: Final = 10_000
"""Rows from which on sequential scans are expensive."""
_MANY_SCANS: Final = 100
_DEAD: Final = 0.2
"""PostgreSQL's default for autovacuum: a fifth of the rows are dead."""
_BLOATED: Final = 3.0
_MIN_INDEX_BYTES: Final = 2**20
"""Smaller indexes are not reported."""

TURN_ON: Final = (
    "PostgreSQL does not collect statistics of queries. To enable them, set "
    "`shared_preload_libraries = 'pg_stat_statements'`, restart it, and run "
    "`CREATE EXTENSION pg_stat_statements` in this database. Only this report uses them."
)


def slow_queries(queries: Sequence[SlowQuery] | None) -> Section:
    """The queries with the greatest total time; None if PostgreSQL collects no statistics."""
    if queries is None:
        return Section("Slowest queries", TURN_ON)
    rows = [
        (
            f"{each.total_ms / 1000:,.1f}",
            f"{each.calls:,}",
            f"{each.mean_ms:,.1f} ({each.max_ms:,.0f})",
            redacted_line(each.text),
        )
        for each in queries
    ]  # as narrow as a phone
    text = (
        "The queries with the greatest total time since the statistics were reset. Run `EXPLAIN (ANALYZE, BUFFERS)` on "
        "a new one with a long mean time: it may lack an index."
    )
    return Section("Slowest queries", text, ("total s", "calls", "mean ms (max)", "query"), rows)


def table_rows(tables: Sequence[TableUse]) -> list[Row]:
    """The rows of the table artifact, the largest first; the next report compares `bytes`."""
    return [
        {
            "table": each.name,
            "size": format_bytes(each.bytes_all),
            "of it indexes": format_bytes(each.bytes_of_indexes),
            "rows": each.live,
            "bytes": each.bytes_all,
        }
        for each in sorted(tables, key=lambda each: -each.bytes_all)
    ]


def sizes(
    tables: Sequence[TableUse], previous: Sequence[Mapping[str, Any]], since: datetime | None, zone: tzinfo = UTC
) -> Section:
    """The tables by size, with their growth since the previous report."""
    bytes_before = {row["table"]: int(row["bytes"]) for row in previous}
    rows = [
        (
            each.name,
            f"{each.live:,}",
            format_bytes(each.bytes_all),
            _growth(each, bytes_before),
        )
        for each in sorted(tables, key=lambda each: -each.bytes_all)
    ]
    text = f"Grown since {times.minute(since, zone)}." if since else "The next report shows the growth."
    advice = "If a table keeps growing, shorten its retention: the parameters of `cleanup-logs`."
    return Section("Sizes", f"{text} {advice}", ("table", "rows", "size", "grown by"), rows)


def missing_indexes(tables: Sequence[TableUse]) -> Section:
    """Large tables with many sequential scans."""
    unindexed = [each for each in tables if each.live >= MANY_ROWS and each.scans >= _MANY_SCANS]
    if not unindexed:
        return Section("Missing indexes", "None: no large table has many sequential scans.")
    rows = [
        (each.name, f"{each.live:,}", f"{each.scans:,}", f"{each.rows_scanned:,}", f"{each.index_reads:,}")
        for each in sorted(unindexed, key=lambda each: -each.rows_scanned)
    ]
    text = (
        "These have many sequential scans. Jobs that process a whole shop need them, queries of the API do not: look "
        "for those among the slowest queries of `weekly-report`."
    )
    header = ("table", "rows", "sequential scans", "rows read by them", "index scans")
    return Section(
        "Missing indexes", text, header, rows, f"{pluralize(len(unindexed), 'table')} that may lack an index"
    )


def unused_indexes(indexes: Sequence[IndexUse], since: datetime | None, zone: tzinfo = UTC) -> Section:
    """Indexes without a scan, except those of constraints."""
    unused = [each for each in indexes if not each.uses and not each.is_constraint and each.size >= _MIN_INDEX_BYTES]
    when = f"since {times.minute(since, zone)}" if since else "since PostgreSQL's statistics began"
    if not unused:
        return Section("Unused indexes", f"None of any size {when}.")
    rows = [(each.name, each.table, format_bytes(each.size)) for each in sorted(unused, key=lambda each: -each.size)]
    text = (
        f"Not used {when}. If every job has run since then and no replica uses them, drop them in a migration: each "
        "index slows down every write."
    )
    return Section("Unused indexes", text, ("index", "table", "size"), rows, pluralize(len(unused), "unused index"))


def dead_rows(tables: Sequence[TableUse], zone: tzinfo = UTC) -> Section:
    """Tables with dead rows."""
    rows = [
        (
            each.name,
            f"{each.live:,}",
            f"{each.dead:,}",
            percent_cell(each.dead, each.live + each.dead),
            times.day(each.vacuumed, zone) if each.vacuumed else "never",
        )
        for each in sorted(tables, key=lambda each: -each.dead)
        if each.dead
    ]
    bad = [each.name for each in tables if each.dead >= MANY_ROWS and each.dead > 2 * _DEAD * (each.live + each.dead)]
    if bad:
        text = (
            f"**Autovacuum does not keep up** with {', '.join(bad)}: run `VACUUM (ANALYZE)`, and lower its threshold."
        )
    else:
        text = "Nothing to do: autovacuum keeps up."
    finding = f"dead rows in {pluralize(len(bad), 'table')}" if bad else ""
    return Section("Dead rows", text, ("table", "live rows", "dead rows", "dead", "last vacuum"), rows, finding)


def bloated_indexes(indexes: Sequence[IndexUse]) -> Section:
    """Indexes several times as large as their rows need, by a rough estimate."""
    bloated = [
        each for each in indexes if each.dense and each.size >= _MIN_INDEX_BYTES and each.size > _BLOATED * each.dense
    ]
    if not bloated:
        return Section("Bloated indexes", "None.")
    rows = [
        (each.name, each.table, format_bytes(each.size), format_bytes(each.dense))
        for each in sorted(bloated, key=lambda each: each.dense - each.size)
    ]
    text = "By a rough estimate these are much larger than necessary: run `REINDEX INDEX CONCURRENTLY`."
    header = ("index", "table", "size", "when dense")
    return Section("Bloated indexes", text, header, rows, f"{pluralize(len(bloated), 'index')} to rebuild")


def _growth(table: TableUse, bytes_before: Mapping[str, int]) -> str:
    if table.name not in bytes_before:
        return "not known"
    grown = table.bytes_all - bytes_before[table.name]
    return f"{'-' if grown < 0 else '+'}{format_bytes(abs(grown))}"
