"""How PostgreSQL is doing: slow queries, sizes, dead rows, indexes that are missing or not needed. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from wishcraft.reports.page import Row, Section, counted, percent, quoted, size
from wishcraft.store.statistics import IndexUse, SlowQuery, TableUse

MANY_ROWS: Final = 10_000
"""From here on it costs something to read a table as a whole."""
_MANY_SCANS: Final = 100
_DEAD: Final = 0.2
"""PostgreSQL's own default: autovacuum comes when a fifth of a table is dead."""
_BLOATED: Final = 3.0
_WORTH_IT: Final = 2**20
"""Bytes: what is smaller is not worth anybody's time."""

TURN_ON: Final = (
    "PostgreSQL does not keep statistics of queries here. To turn them on, set "
    "`shared_preload_libraries = 'pg_stat_statements'`, restart it, and run "
    "`CREATE EXTENSION pg_stat_statements` in this database; nothing else needs it."
)


def slow_queries(queries: Sequence[SlowQuery] | None) -> Section:
    """Those that took PostgreSQL's time the most; None says that it does not keep count."""
    if queries is None:
        return Section("Slowest queries", TURN_ON)
    rows = [
        (
            f"{each.total_ms / 1000:,.1f}",
            f"{each.calls:,}",
            f"{each.mean_ms:,.1f}",
            f"{each.max_ms:,.0f}",
            quoted(each.text),
        )
        for each in queries
    ]
    text = (
        "Those that took most of PostgreSQL's time, since its statistics were reset. One that takes long on average "
        "and is new here: `EXPLAIN (ANALYZE, BUFFERS)` tells whether it lacks an index."
    )
    return Section("Slowest queries", text, ("seconds in all", "calls", "mean ms", "longest ms", "query"), rows)


def table_rows(tables: Sequence[TableUse]) -> list[Row]:
    """A table for people, the largest first; a later report compares its `bytes`."""
    return [
        {
            "table": each.name,
            "size": size(each.bytes_all),
            "of it indexes": size(each.bytes_of_indexes),
            "rows": each.live,
            "bytes": each.bytes_all,
        }
        for each in sorted(tables, key=lambda each: -each.bytes_all)
    ]


def sizes(tables: Sequence[TableUse], earlier: Sequence[Mapping[str, Any]], since: datetime | None) -> Section:
    """The largest tables, and how they have grown."""
    then = {row["table"]: int(row["bytes"]) for row in earlier}
    rows = [
        (each.name, f"{each.live:,}", size(each.bytes_all), size(each.bytes_of_indexes), _growth(each, then))
        for each in sorted(tables, key=lambda each: -each.bytes_all)
    ]
    text = f"Grown since {since:%b %d}." if since else "Growth will be known with the next report."
    advice = "What grows without end is kept too long: the days of `cleanup-logs` are its parameters."
    return Section("Sizes", f"{text} {advice}", ("table", "rows", "size", "of it indexes", "grown by"), rows)


def missing_indexes(tables: Sequence[TableUse]) -> Section:
    """Large tables that are often read as a whole."""
    found = [each for each in tables if each.live >= MANY_ROWS and each.scans >= _MANY_SCANS]
    if not found:
        return Section("Missing indexes", "None: no large table is often read as a whole.")
    rows = [
        (each.name, f"{each.live:,}", f"{each.scans:,}", f"{each.rows_scanned:,}", f"{each.index_reads:,}")
        for each in sorted(found, key=lambda each: -each.rows_scanned)
    ]
    text = (
        "These are often read as a whole. A job that goes through all of a shop does so with good reason; a query of "
        "the API does not: look for it among the slowest of `weekly-report`."
    )
    header = ("table", "rows", "times", "rows read so", "times by an index")
    return Section("Missing indexes", text, header, rows, f"{counted(len(found), 'table')} that may lack an index")


def unused_indexes(indexes: Sequence[IndexUse], since: datetime | None) -> Section:
    """Indexes that cost writes and serve nobody; those that hold a constraint are needed all the same."""
    found = [each for each in indexes if not each.uses and not each.is_constraint and each.size >= _WORTH_IT]
    when = f"since {since:%Y-%m-%d}" if since else "since PostgreSQL counts"
    if not found:
        return Section("Unused indexes", f"None of any size {when}.")
    rows = [(each.name, each.table, size(each.size)) for each in sorted(found, key=lambda each: -each.size)]
    text = (
        f"Not used {when}, which must have been long enough for every job to run, and look at every replica too. "
        "Then a migration may drop them: each costs time with every write."
    )
    return Section("Unused indexes", text, ("index", "table", "size"), rows, counted(len(found), "unused index"))


def dead_rows(tables: Sequence[TableUse]) -> Section:
    """Tables with much that is dead."""
    rows = [
        (
            each.name,
            f"{each.live:,}",
            f"{each.dead:,}",
            percent(each.dead, each.live + each.dead),
            f"{each.vacuumed:%Y-%m-%d}" if each.vacuumed else "never",
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
    finding = f"dead rows in {counted(len(bad), 'table')}" if bad else ""
    return Section("Dead rows", text, ("table", "live rows", "dead rows", "dead", "last vacuum"), rows, finding)


def bloated_indexes(indexes: Sequence[IndexUse]) -> Section:
    """Indexes that take several times what their rows need, by a rough estimate."""
    found = [each for each in indexes if each.dense and each.size >= _WORTH_IT and each.size > _BLOATED * each.dense]
    if not found:
        return Section("Bloated indexes", "None.")
    rows = [
        (each.name, each.table, size(each.size), size(each.dense))
        for each in sorted(found, key=lambda each: each.dense - each.size)
    ]
    text = "By a rough estimate these are much larger than they need to be: `REINDEX INDEX CONCURRENTLY` mends it."
    header = ("index", "table", "size", "when dense")
    return Section("Bloated indexes", text, header, rows, f"{counted(len(found), 'index')} to be built anew")


def _growth(table: TableUse, then: Mapping[str, int]) -> str:
    if table.name not in then:
        return "not known"
    grown = table.bytes_all - then[table.name]
    return f"{'-' if grown < 0 else '+'}{size(abs(grown))}"
