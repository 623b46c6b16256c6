"""PostgreSQL for analysts: a role that can only read the views of the schema `analytics`, without personal data.

It has a pool of its own, a time limit for each statement, and no open transactions: reports do not slow down the API
and do not hold back vacuum.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import Connection, Cursor
from sqlalchemy import create_engine

from wishcraft.analytics.answer import make_frame, register_loaders
from wishcraft.analytics.question import parse_question
from wishcraft.analytics.tables import TABLES, TableName, read_table
from wishcraft.database_errors import translate_database_errors
from wishcraft.errors import ConfigurationError, DatabaseUnavailable, QueryRefused

ROLE: Final = "wishcraft_analyst"
STATEMENT_SECONDS: Final = 60
_OPTIONS: Final = (
    f"-c role={ROLE} -c search_path=analytics -c default_transaction_read_only=on -c timezone=UTC"
    f" -c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
)
_FIND_SHOPS: Final = """
SELECT shop_id, domain, currency, timezone FROM shops WHERE %(all)s OR domain = ANY(%(domains)s) ORDER BY domain
"""
_FIND_REGISTRIES: Final = """
SELECT registry_id FROM registries
WHERE shop_id = %(shop_id)s AND (%(all)s OR event_type = ANY(%(event_types)s))
    AND created_at >= coalesce(%(since)s::timestamptz, '-infinity')
    AND created_at < coalesce(%(until)s::timestamptz, 'infinity')
ORDER BY registry_id
"""
_MAX_LISTED: Final = 10
"""Shops that an error message lists."""
_MIGRATE: Final = f"bring the schema up to date, and use a login that is {ROLE} or a member of it"
# A superuser or a member of another role could leave this role with SET ROLE within the query.
_IS_CONFINED: Final = """
SELECT session_user = %(role)s AND NOT rolsuper AND NOT EXISTS (SELECT FROM pg_auth_members WHERE member = oid)
FROM pg_roles WHERE rolname = session_user
"""


class Shop(NamedTuple):
    """A shop, with the columns that reports use."""

    shop_id: int
    domain: str
    currency: str
    timezone: str


class AnalystsDatabase:
    """Client of the analysts' views."""

    def __init__(self, url: str, *, pool_size: int = 2) -> None:
        """Create the pool of `pool_size` connections; the first query connects. `url` is a `postgresql+psycopg` URL."""
        self._engine = create_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=STATEMENT_SECONDS,
            pool_pre_ping=True,
            isolation_level="AUTOCOMMIT",
            connect_args={"options": _OPTIONS, "connect_timeout": 5, "application_name": "wishcraft-analysts"},
        )

    def find_shops(self, domains: Sequence[str] = ()) -> list[Shop]:
        """The shops with these domains, or all if empty, sorted by domain.

        Raises:
            QueryRefused: No shop has such a domain; the message lists the shops if they are few.
            ConfigurationError: The login may not read the views.
            DatabaseUnavailable: PostgreSQL does not answer, or all connections of the pool are in use.
        """
        with self._connection() as connection:
            rows = connection.execute(_FIND_SHOPS, {"all": not domains, "domains": list(domains)}).fetchall()
        shops = [Shop(*row) for row in rows]
        if missing := sorted(set(domains) - {shop.domain for shop in shops}):
            known = [shop.domain for shop in self.find_shops()]
            listed = ", ".join(known) or "none" if len(known) <= _MAX_LISTED else f"{len(known):,}, in the view shops"
            raise QueryRefused(f"no shop has the domain {', '.join(map(repr, missing))}; there are {listed}")
        return shops

    def find_registries(
        self,
        shop: Shop,
        event_types: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[int]:
        """Ids of the shop's registries of these types (empty: all), created from `since` to before `until`."""
        parameters = {"all": not event_types, "event_types": list(event_types), "since": since, "until": until}
        with self._connection() as connection:
            rows = connection.execute(_FIND_REGISTRIES, {"shop_id": shop.shop_id, **parameters}).fetchall()
        return [registry_id for (registry_id,) in rows]

    def read(
        self,
        table: TableName,
        shop: Shop,
        ids: Sequence[int],
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """The rows of these registries of the shop, with the columns of `tables.TABLES`.

        `since` and `until` (exclusive) select events; the other tables ignore them.
        """
        parameters = {"shop_id": shop.shop_id, "ids": list(ids), "since": since, "until": until}
        with self._connection() as connection, connection.cursor() as cursor:
            return read_table(cursor, TABLES[table], parameters)

    def query(self, sql: str, max_rows: int, seconds: int) -> pd.DataFrame:
        """Run an analyst's SELECT; one row more than `max_rows` means that there are more.

        Raises:
            ConfigurationError: The login could do more than read the views; the query is not run.
            QueryRefused: It is not a SELECT, PostgreSQL refuses it, it takes longer than `seconds`, or its result is
                larger than `MAX_MB`.
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        with self._connection() as connection, connection.transaction():
            if connection.execute(_IS_CONFINED, {"role": ROLE}).fetchone() != (True,):
                raise ConfigurationError(
                    f"queries run only as {ROLE}: set DATABASE_REPLICA_URL to a URL with that login"
                )
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds}s"])
            return _run_select(connection, sql, max_rows)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[Connection[tuple[Any, ...]]]:
        try:
            with translate_database_errors(), self._engine.connect() as pooled:
                connection: Connection[tuple[Any, ...]] = pooled.connection.driver_connection  # type: ignore[assignment]
                yield connection
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable) as error:
            raise ConfigurationError(f"{error.diag.message_primary}: {_MIGRATE}") from error
        except DatabaseUnavailable as error:
            if ROLE in str(error):
                raise ConfigurationError(f"{error}: {_MIGRATE}") from error
            raise


MAX_MB: Final = 50
"""Size of a query's result as text."""
VIEWS: Final = ("events", "items", "purchases", "registries", "reminders", "shops", "views")
_BEFORE: Final = "SELECT * FROM (\n"
_AFTER: Final = "\n) AS query LIMIT "
_NOT_THE_QUERYS: Final = ("08", "40", "53100", "53300", "55P03", "57P", "58")
"""The beginnings of the SQLSTATEs of errors that the server or others cause. Every other one is that of the query."""
_HELP: Final[dict[type[psycopg.Error], str]] = {
    psycopg.errors.UndefinedTable: f"; the views are {', '.join(VIEWS)}",
    psycopg.errors.UndefinedColumn: "; SELECT * FROM registries LIMIT 1 shows the columns of a view:"
    " by design no view has personal data",
}


def _run_select(connection: Connection[tuple[Any, ...]], sql: str, max_rows: int) -> pd.DataFrame:
    # As a subquery it can only be one SELECT, and a query with a parameter can only be one statement.
    select = parse_question(sql)
    query = f"{_BEFORE}{select.replace('%', '%%')}{_AFTER}%s"
    with connection.cursor() as cursor:
        try:
            columns = cursor.execute(query, [0]).description or ()  # a stream without rows has no description
            register_loaders(cursor, [column.type_code for column in columns])
            rows = _fetch(cursor, query, max_rows + 1)
        except psycopg.errors.QueryCanceled:
            raise QueryRefused("the query took too long: select less, or raise the limit of seconds") from None
        except psycopg.Error as error:
            if not _is_of_query(error):
                raise
            raise QueryRefused(_explain(error, select)) from None
    return make_frame([(column.name, column.type_code) for column in columns], rows)


def _is_of_query(error: psycopg.Error) -> bool:
    """Whether the query caused the error, and would again; otherwise the server did, or the connection is lost."""
    if error.sqlstate is None:
        return not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return not error.sqlstate.startswith(_NOT_THE_QUERYS)


def _fetch(cursor: Cursor[tuple[Any, ...]], query: str, max_rows: int) -> list[tuple[Any, ...]]:
    """Fetch the rows as a stream, so that a result that is too large is never in memory as a whole."""
    rows, bytes_left = [], MAX_MB * 1_000_000
    with closing(cast("Generator[tuple[Any, ...]]", cursor.stream(query, [max_rows]))) as stream:
        for row in stream:
            rows.append(row)
            bytes_left -= sum(len(str(value)) for value in row)
            if bytes_left < 0:
                raise QueryRefused(f"the result is larger than {MAX_MB} MB: select fewer rows, or shorter texts")
    return rows


def _explain(error: psycopg.Error, select: str) -> str:
    """PostgreSQL's message, after the line of the query that it is about and before a hint."""
    place = int(error.diag.statement_position or 0) - len(_BEFORE)
    if place > len(select):
        return "syntax error at the end of the query: check for missing words and unbalanced parentheses"
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    text = (error.diag.message_primary or str(error)).replace(f"{_AFTER}$1", "") + hint + _HELP.get(type(error), "")
    return f"line {select.count(chr(10), 0, place) + 1}: {text}" if place > 0 else text
