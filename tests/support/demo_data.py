"""The demo shops' rows: seeded once, kept in memory, and put back before each test where a test has changed them."""

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from typing import Final, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Composed, Identifier, Literal

from deployments.sandbox.demo import seed
from tests.support.aliases import Demo
from wishcraft.settings import Settings

SEED: Final = 7
TODAY: Final = date(2026, 3, 14)
_EMPTY: Final = "TRUNCATE shops, audit_logs, pending_invalidations, webhook_events CASCADE"
_MAX_EXTRA_BYTES: Final = 4_000_000
"""Of a table beyond its rows here: deleted rows take space, and time to count."""
_SECONDS_OF_USE: Final = 1800
"""Half of the hour for which the seeded access tokens are valid."""
_COLUMNS: Final = """
SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns
JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name <> 'alembic_version'
AND is_generated = 'NEVER' GROUP BY table_name ORDER BY table_name
"""
_SEQUENCES: Final = "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = 'public'"

Tables = Demo


class KeptConnection:
    """A connection in autocommit mode that many tests use in turn.

    A new one would cost PostgreSQL some 10 ms: it reads the catalogue of all tables, and plans the queries below.
    """

    def __init__(self) -> None:
        self._url = ""
        self._connection: Tables | None = None

    def open(self, url: str) -> Tables:
        """The connection, as new; another one if a test has closed or lost it, or left a transaction open in it."""
        kept = self._connection
        if kept and (url, TransactionStatus.IDLE) == (self._url, kept.info.transaction_status):
            with suppress(psycopg.OperationalError):
                kept.execute("RESET ALL")
                return kept
        self.close()
        self._url = url
        self._connection = psycopg.connect(url, autocommit=True)
        return self._connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection:
            self._connection.close()


class _Table(NamedTuple):
    columns: list[str]
    rows: int
    data: bytes
    counting: bytes
    """The query that counts its rows, and how many of them are as they were put there."""
    written_by: int
    """The transaction that put the rows there: PostgreSQL keeps it in each row's `xmin` until the row changes."""


class DemoData:
    """The rows that `seed` writes for so many registries, without reminders unless `reminders`."""

    def __init__(self, registries: int, *, reminders: bool, random_seed: int = SEED, today: date = TODAY) -> None:
        self._registries = registries
        self._reminders = reminders
        self._random_seed = random_seed
        self._today = today
        self._tables: dict[str, _Table] = {}
        self._measure = b""
        """The query of all tables' sizes."""
        self._set_sequences = b""
        self._seeded_at = float("-inf")

    def restore(self, connection: Tables, settings: Settings) -> None:
        """Make the tables hold these rows and no others."""
        if time.monotonic() - self._seeded_at > _SECONDS_OF_USE:
            self._seed(connection, settings)
            return
        if self._is_bloated(connection):
            connection.execute(_EMPTY)
        connection.execute(self._set_sequences, prepare=True)
        if changed := [found for found in self._count(connection) if found[1:] != (self._tables[found[0]].rows,) * 2]:
            self._put_back(connection, changed)

    def _put_back(self, connection: Tables, changed: Sequence[tuple[str, int, int]]) -> None:
        rewritten = []
        with connection.transaction():
            # The rows fit together: check no keys. Where nothing is to do, this would cost all plans that are kept.
            connection.execute("SET LOCAL session_replication_role = replica")
            for name, _, unchanged in changed:
                table = self._tables[name]
                if unchanged != table.rows:
                    self._rewrite(connection, name)
                    rewritten.append(name)
                else:
                    delete = SQL("DELETE FROM {} WHERE xmin <> {}::text::xid")
                    connection.execute(delete.format(Identifier(name), Literal(table.written_by)))
        if rewritten:
            connection.execute(SQL("ANALYZE {}").format(SQL(", ").join(map(Identifier, rewritten))))

    def _seed(self, connection: Tables, settings: Settings) -> None:
        connection.execute(_EMPTY)
        seed(settings, self._registries, self._random_seed, self._today)
        if not self._reminders:
            connection.execute("TRUNCATE reminders")
        self._seeded_at = time.monotonic()
        sequences = [
            SQL("setval({}, {}, {})").format(Literal(name), Literal(last or 1), Literal(last is not None))
            for name, last in connection.execute(_SEQUENCES).fetchall()
        ]
        self._set_sequences = (SQL("SELECT ") + SQL(", ").join(sequences)).as_bytes(connection)
        self._tables = {}
        # In no order, so that what relies on the order of a query without ORDER BY fails.
        connection.execute("SELECT setseed(%s)", [random.random()])  # noqa: S311  no secret
        for name, columns in connection.execute(_COLUMNS).fetchall():
            with connection.cursor() as cursor, cursor.copy(_read(name, columns)) as copy:
                self._tables[name] = _Table(columns, 0, b"".join(map(bytes, copy)), b"", 0)
        sizes = [SQL("pg_relation_size({})").format(Literal(name)) for name in self._tables]
        self._measure = (SQL("SELECT ") + SQL(", ").join(sizes)).as_bytes(connection)
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            for name in self._tables:
                self._rewrite(connection, name)
        for name, rows, _ in self._count(connection):
            self._tables[name] = self._tables[name]._replace(rows=rows)

    def _count(self, connection: Tables) -> list[tuple[str, int, int]]:
        """Each table's rows, and how many of them are as they were put there."""
        query = b" UNION ALL ".join(table.counting for table in self._tables.values())
        return connection.execute(query, prepare=True).fetchall()

    def _is_bloated(self, connection: Tables) -> bool:
        found = connection.execute(self._measure, prepare=True).fetchone() or ()
        return any(
            size > _MAX_EXTRA_BYTES + 4 * len(table.data)
            for size, table in zip(found, self._tables.values(), strict=True)
        )

    def _rewrite(self, connection: Tables, name: str) -> None:
        table = self._tables[name]
        connection.execute(SQL("DELETE FROM {}").format(Identifier(name)))
        with connection.cursor() as cursor, cursor.copy(_write(name, table.columns)) as copy:
            copy.write(table.data)
        [(transaction,)] = connection.execute("SELECT pg_current_xact_id()::xid::text::bigint").fetchall()
        count = SQL("SELECT {}, count(*), count(*) FILTER (WHERE xmin = {}::text::xid) FROM {}").format(
            Literal(name), Literal(transaction), Identifier(name)
        )
        self._tables[name] = table._replace(counting=count.as_bytes(connection), written_by=transaction)


def _read(name: str, columns: Sequence[str]) -> Composed:
    return SQL("COPY (SELECT {} FROM {} ORDER BY random()) TO STDOUT (FORMAT binary)").format(
        SQL(", ").join(map(Identifier, columns)), Identifier(name)
    )


def _write(name: str, columns: Sequence[str]) -> Composed:
    return SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        Identifier(name), SQL(", ").join(map(Identifier, columns))
    )
