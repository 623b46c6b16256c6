"""PostgreSQL for analysts: a role that can only read the views of the schema `analytics`, without personal data.

It has a pool of its own, a time limit for each statement, and no open transactions: reports do not slow down the API
and do not hold back vacuum.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import Connection
from psycopg.sql import SQL, Composed, Literal
from sqlalchemy import create_engine

from wishcraft.analytics.confinement import ROLE, require_confinement
from wishcraft.analytics.filters import TableName
from wishcraft.analytics.query_result import make_frame, register_loaders
from wishcraft.analytics.select_text import parse_select
from wishcraft.analytics.tables import TABLES, read_table
from wishcraft.database_errors import translate_database_errors
from wishcraft.domain.storable_text import is_storable
from wishcraft.errors import ConfigurationError, DatabaseUnavailable, QueryRefused, UnknownShop
from wishcraft.urls.postgresql import with_defaults

STATEMENT_SECONDS: Final = 60
_OPTIONS: Final = (
    f"-c role={ROLE} -c search_path=analytics -c default_transaction_read_only=on -c timezone=UTC"
    f" -c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
)
_NEVER: Final = 2**31
"""The uses of a statement after which psycopg prepares it: a migration that changes a column's type would outdate it.
None would also forbid the `prepare=True` with which `ask` prepares a question."""
_CONNECTION: Final = {"connect_timeout": 5, "application_name": "wishcraft-analysts", "prepare_threshold": _NEVER}
_FIND_SHOPS: Final = """
SELECT shop_id, domain, currency, timezone, status = 'active' FROM shops
WHERE %(all)s OR domain = ANY(%(domains)s) ORDER BY domain
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
_PASSWORD: Final = f"check the password; docs/analysts.md says how {ROLE} gets one"


class Shop(NamedTuple):
    """A shop, with the columns that reports use."""

    shop_id: int
    domain: str
    currency: str
    timezone: str
    has_app: bool
    """Whether it has the app: its registries stay after it has uninstalled it."""


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
            connect_args=with_defaults(url, _CONNECTION, _OPTIONS),
        )

    def find_shops(self, domains: Sequence[str] = ()) -> list[Shop]:
        """The shops with these domains, or all if empty, sorted by domain.

        Raises:
            UnknownShop: No shop has such a domain; the message lists the shops if they are few.
            ConfigurationError: The login may not read the views.
            DatabaseUnavailable: PostgreSQL does not answer, or all connections of the pool are in use.
        """
        wanted = {domain.strip().lower() for domain in domains}
        with self._connection() as connection:
            parameters = {"all": not domains, "domains": list(filter(is_storable, wanted))}
            rows = connection.execute(_FIND_SHOPS, parameters).fetchall()
        shops = [Shop(*row) for row in rows]
        if missing := sorted(wanted - {shop.domain for shop in shops}):
            known = [shop.domain for shop in self.find_shops()]
            listed = ", ".join(known) or "none" if len(known) <= _MAX_LISTED else f"{len(known):,}, in the view shops"
            raise UnknownShop(f"no shop has the domain {', '.join(map(repr, missing))}; there are {listed}")
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
            QueryRefused: It is not a SELECT, PostgreSQL refuses it, it takes longer than `seconds`, its result is
                larger than `MAX_MB`, or one of its rows than `MAX_ROW_MB`.
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        with self._connection(lasting=False) as connection, connection.transaction(force_rollback=True):
            connection.execute("SET TRANSACTION READ ONLY")
            require_confinement(connection)
            connection.execute(SQL("SET LOCAL statement_timeout = {}").format(Literal(f"{seconds}s")))
            return _run_select(connection, sql, max_rows)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _connection(self, *, lasting: bool = True) -> Iterator[Connection[tuple[Any, ...]]]:
        """A connection of the pool; unless `lasting`, it is closed afterwards, with all that a query set or took."""
        try:
            with translate_database_errors(), self._engine.connect() as pooled:
                connection: Connection[tuple[Any, ...]] = pooled.connection.driver_connection  # type: ignore[assignment]
                try:
                    yield connection
                finally:
                    if not lasting:
                        pooled.invalidate()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable) as error:
            raise ConfigurationError(f"{error.diag.message_primary}: {_MIGRATE}") from error
        except DatabaseUnavailable as error:
            if ROLE in str(error):
                remedy = _PASSWORD if "password" in str(error) else _MIGRATE
                raise ConfigurationError(f"{error}: {remedy}") from error
            raise


MAX_MB: Final = 50
"""Size of a query's result as text."""
MAX_ROW_MB: Final = 5
"""Size of one row, which PostgreSQL checks: the client has a row in memory before it can measure it."""
VIEWS: Final = ("events", "items", "mails", "purchases", "registries", "reminders", "shops", "views")
_TOO_LARGE: Final = "54WC1"
"""The SQLSTATE of a row or a result that is too large."""
_BYTES_PER_VALUE: Final = 4
"""The bytes that each value adds to its row, whose text has nothing for NULL."""
_PREPARE: Final = "PREPARE question AS "
# A materialised CTE: each row is computed once, in the block below. A query may lack its closing quote or parenthesis.
_BEFORE: Final = "WITH answer AS MATERIALIZED (SELECT * FROM (\n"
_AFTER: Final = "\n) AS question LIMIT {}) SELECT * FROM answer"
# PostgreSQL sends an error as a whole, with the value that it quotes, and the client receives it before it can measure.
_OPEN: Final = """
DECLARE
    question CONSTANT refcursor := 'question';
    answer record;
    row_bytes bigint;
    result_bytes bigint := 0;
BEGIN
    OPEN question SCROLL FOR EXECUTE {query};
    LOOP
        FETCH question INTO answer;
        EXIT WHEN NOT FOUND;
        row_bytes := octet_length(answer::text) + {bytes_of_values};
        result_bytes := result_bytes + row_bytes;
        IF row_bytes > {max_row} THEN
            RAISE EXCEPTION USING ERRCODE = {too_large}, MESSAGE = {row_too_large};
        ELSIF result_bytes > {max_result} THEN
            RAISE EXCEPTION USING ERRCODE = {too_large}, MESSAGE = {result_too_large};
        END IF;
    END LOOP;
    MOVE ABSOLUTE 0 IN question;
EXCEPTION WHEN OTHERS THEN
    RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = left(SQLERRM, {max_message});
END
"""
_LITERAL: Final = re.compile(r"'((?:[^']|'')*)(?:'|\Z)|\$(\w*)\$(.*?)(?:\$\2\$|\Z)", re.DOTALL)
_MAX_MESSAGE: Final = 300
"""Characters of an error of PostgreSQL, which may quote a value of any length."""
_NOT_THE_QUERYS: Final = ("08", "40", "53100", "53300", "55P03", "57P", "58")
"""The beginnings of the SQLSTATEs of errors that the server or others cause. Every other one is that of the query."""
_WANTS_PARAMETERS: Final = "08P01"
"""A protocol violation: the query has a parameter such as `$1`."""
_HELP: Final[dict[type[psycopg.Error], str]] = {
    psycopg.errors.UndefinedTable: f"; the views are {', '.join(VIEWS)}",
    psycopg.errors.UndefinedColumn: "; SELECT * FROM {} LIMIT 1 shows the columns of a view:"
    " by design no view has personal data",
}


def _run_select(connection: Connection[tuple[Any, ...]], sql: str, max_rows: int) -> pd.DataFrame:
    select = parse_select(sql)
    with connection.cursor() as cursor:
        try:
            # A query that is complete by itself, as one statement, cannot leave its subquery by parentheses. It is only
            # parsed here: an error, which names the line, quotes no more than the query.
            cursor.execute(f"{_PREPARE}{select.replace('%', '%%')}", [], prepare=True)
            columns = _count_columns(connection)
            cursor.execute(_open(select, columns, max_rows + 1))
            description = cursor.execute("FETCH 0 FROM question").description or ()
            register_loaders(cursor, [column.type_code for column in description])
            rows = cursor.execute("FETCH ALL FROM question").fetchall()
        except psycopg.errors.QueryCanceled:
            raise QueryRefused("the query took too long: select less, or raise the limit of seconds") from None
        except psycopg.errors.ConfigurationLimitExceeded:
            raise QueryRefused("the query needs too much space: select less, or aggregate earlier") from None
        except psycopg.Error as error:
            if not _is_of_query(error):
                raise
            raise QueryRefused(_explain(error, select)) from None
    return make_frame([(column.name, column.type_code) for column in description], rows)


def _count_columns(connection: Connection[tuple[Any, ...]]) -> int:
    """The number of columns of the prepared question; none if it is not a SELECT."""
    query = "SELECT coalesce(cardinality(result_types), 0) FROM pg_prepared_statements WHERE name = 'question'"
    [(columns,)] = connection.execute(query).fetchall()
    return int(columns)


def _open(select: str, columns: int, max_rows: int) -> Composed:
    """The block that computes the rows of the question, as a subquery, which can only read, into a cursor.

    It ends with an error whose text is short, or with a result within the limits.
    """
    query = f"{_BEFORE}{select}{_AFTER.format(max_rows)}"
    values = {
        "query": query,
        "bytes_of_values": _BYTES_PER_VALUE * columns,
        "max_row": MAX_ROW_MB * 1_000_000,
        "max_result": MAX_MB * 1_000_000,
        "too_large": _TOO_LARGE,
        "row_too_large": f"a row is larger than {MAX_ROW_MB} MB: select shorter texts",
        "result_too_large": f"the result is larger than {MAX_MB} MB: select fewer rows, or shorter texts",
        "max_message": _MAX_MESSAGE,
    }
    block = SQL(_OPEN).format(**{name: Literal(value) for name, value in values.items()})
    return SQL("DO {}").format(Literal(block.as_string()))


def _is_of_query(error: psycopg.Error) -> bool:
    """Whether the query caused the error, and would again; otherwise the server did, or the connection is lost."""
    if error.sqlstate is None:
        return not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate == _WANTS_PARAMETERS or not error.sqlstate.startswith(_NOT_THE_QUERYS)


def _explain(error: psycopg.Error, select: str) -> str:
    """PostgreSQL's message, after the line of the query that it is about and before a hint."""
    message = error.diag.message_primary or str(error)
    if error.sqlstate == _TOO_LARGE:
        return message
    place = int(error.diag.statement_position or 0) - len(_PREPARE)
    if place > len(select):
        return "syntax error at the end of the query: check for missing words and unbalanced parentheses"
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    asked = [view for view in VIEWS if re.search(rf"\b{view}\b", select, re.IGNORECASE)] or ["registries"]
    help_text = _HELP.get(type(error), "").format(" LIMIT 1 or SELECT * FROM ".join(asked))
    text = _without_literals(message[:_MAX_MESSAGE], select) + hint + help_text
    return f"line {select.count(chr(10), 0, place) + 1}: {text}" if place > 0 else text


def _without_literals(message: str, select: str) -> str:
    """The message without the query's texts, which may be names: it goes to logs and into the run's state."""
    written = {match[1] or match[3] or "" for match in _LITERAL.finditer(select)}
    texts = {text[:_MAX_MESSAGE] for text in written | {text.replace("''", "'") for text in written}}
    for text in sorted(texts, key=len, reverse=True):
        message = message.replace(text, "…") if len(text) > 1 else message
    return message
