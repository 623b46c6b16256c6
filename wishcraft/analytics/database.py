"""How analysts reach PostgreSQL: as a role that can read the views of the schema `analytics`, which name no person.

The pool is their own, each statement is bounded, and none leaves a transaction open: a report takes nothing from those
who serve, and holds back no vacuum.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple, cast

import pandas as pd
import psycopg
import pyarrow as pa
from psycopg import Connection, Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from sqlalchemy import create_engine

from wishcraft.analytics.tables import TABLES, TableName, read_table
from wishcraft.database_errors import translate_database_errors
from wishcraft.errors import ConfigurationError, DatabaseUnavailable, QuestionRefused

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
_MOST_LISTED: Final = 10
"""Shops that a message names."""
_MIGRATE: Final = f"bring the schema up to date, and let the login be {ROLE} or a member of it"
# A role that is a member of another, or a superuser, could lay down this one in the midst of a question.
_IS_CONFINED: Final = """
SELECT session_user = %(role)s AND NOT rolsuper AND NOT EXISTS (SELECT FROM pg_auth_members WHERE member = oid)
FROM pg_roles WHERE rolname = session_user
"""


class Shop(NamedTuple):
    """A shop as analysts know it."""

    shop_id: int
    domain: str
    currency: str
    timezone: str


class AnalystsDatabase:
    """The views, through a pool of `pool_size` connections."""

    def __init__(self, url: str, *, pool_size: int = 2) -> None:
        """`url` names psycopg as its driver, as the settings' do; nothing connects yet."""
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
        """The shops with these domains, or all, in the order of their domains.

        Raises:
            QuestionRefused: A domain names no shop; the message lists the shops if they are few.
            ConfigurationError: The login may not read the views.
            DatabaseUnavailable: PostgreSQL is away, or too busy.
        """
        with self._connection() as connection:
            rows = connection.execute(_FIND_SHOPS, {"all": not domains, "domains": list(domains)}).fetchall()
        found = [Shop(*row) for row in rows]
        if missing := sorted(set(domains) - {shop.domain for shop in found}):
            known = [shop.domain for shop in self.find_shops()]
            listed = ", ".join(known) or "none" if len(known) <= _MOST_LISTED else f"{len(known):,}, in the view shops"
            raise QuestionRefused(f"no shop has the domain {', '.join(map(repr, missing))}; there are {listed}")
        return found

    def find_registries(
        self,
        shop: Shop,
        event_types: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[int]:
        """The ids of the shop's registries of these types, or all, that were created from `since` to before `until`."""
        chosen = {"all": not event_types, "event_types": list(event_types), "since": since, "until": until}
        with self._connection() as connection:
            rows = connection.execute(_FIND_REGISTRIES, {"shop_id": shop.shop_id, **chosen}).fetchall()
        return [registry_id for (registry_id,) in rows]

    def read(
        self,
        table: TableName,
        shop: Shop,
        ids: Sequence[int],
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> pa.Table:
        """The rows of these registries of the shop, with the columns that `frames.TABLES` names.

        Events are those from `since` to before `until`, which the other tables do not heed.
        """
        parameters = {"shop_id": shop.shop_id, "ids": list(ids), "since": since, "until": until}
        with self._connection() as connection, connection.cursor() as cursor:
            return read_table(cursor, TABLES[table], parameters)

    def ask(self, question: str, rows: int, seconds: int) -> pd.DataFrame:
        """What a person's SELECT finds: at most `rows` rows and one more, which says that there are more.

        Raises:
            ConfigurationError: The login could do more than read the views, so no question is passed on.
            QuestionRefused: It is no SELECT; PostgreSQL does not understand or refuses it, or takes longer than
                `seconds`; the answer is larger than `MOST_MB`.
            DatabaseUnavailable: PostgreSQL is away.
        """
        with self._connection() as connection, connection.transaction():
            if connection.execute(_IS_CONFINED, {"role": ROLE}).fetchone() != (True,):
                raise ConfigurationError(
                    f"a question is asked as {ROLE} alone: set DATABASE_REPLICA_URL to a URL with that login"
                )
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds}s"])
            return _answer(connection, question, rows)

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


MOST_MB: Final = 50
"""Of text that an answer may be."""
VIEWS: Final = ("events", "items", "purchases", "registries", "reminders", "shops", "views")
_MOMENTS: Final = tuple(psycopg.postgres.types[name].oid for name in ("date", "timestamp", "timestamptz"))
_WHOLE: Final = tuple(psycopg.postgres.types[name].oid for name in ("int2", "int4", "int8", "oid"))
_NUMERIC: Final = psycopg.postgres.types["numeric"].oid
_BEFORE: Final = "SELECT * FROM (\n"
_AFTER: Final = "\n) AS question LIMIT "
_BEGIN: Final = re.compile(r"(?:\s|\(|--[^\r\n]*|/\*.*?\*/)*(\w*)", re.DOTALL)
_SELECTS: Final = ("SELECT", "WITH", "VALUES", "TABLE")
_HELP: Final[dict[type[psycopg.Error], str]] = {
    psycopg.errors.UndefinedTable: f"; the views are {', '.join(VIEWS)}",
    psycopg.errors.UndefinedColumn: "; SELECT * FROM registries LIMIT 1 shows the columns of a view:"
    " by design no view names a person",
}


class _NumericLoader(Loader):
    """An integer, such as a sum of integers is, stays one."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return int(text) if text.lstrip(b"-").isdigit() else float(text)


def _answer(connection: Connection[tuple[Any, ...]], question: str, rows: int) -> pd.DataFrame:
    # In a subquery it can be nothing but one SELECT, and with a parameter nothing can come after it.
    asked = question.strip().removesuffix(";")
    _require_select(asked)
    query = f"{_BEFORE}{asked.replace('%', '%%')}{_AFTER}%s"
    with connection.cursor() as cursor:
        cursor.adapters.register_loader("numeric", _NumericLoader)
        try:
            columns = cursor.execute(query, [0]).description or ()  # a stream without rows does not tell them
            found = _fetch(cursor, query, rows + 1)
        except psycopg.errors.QueryCanceled:
            raise QuestionRefused("it took too long: ask for less, or allow more seconds") from None
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError, psycopg.InternalError) as error:
            raise QuestionRefused(_say(error, asked)) from None
    kinds = [column.type_code for column in columns]
    series = [_series([row[place] for row in found], kind) for place, kind in enumerate(kinds)]
    frame = pd.DataFrame(dict(enumerate(series)), index=range(len(found)))
    return frame.set_axis(_unique([column.name for column in columns]), axis="columns")


def _require_select(asked: str) -> None:
    begin = _BEGIN.match(asked)
    word = begin[1] if begin else ""
    if begin and begin.end() == len(asked) and not word:
        raise QuestionRefused("the question is empty: ask one SELECT")
    if word.upper() not in _SELECTS:
        raise QuestionRefused(f"ask one SELECT; a question begins with {', '.join(_SELECTS[:-1])} or {_SELECTS[-1]}")


def _fetch(cursor: Cursor[tuple[Any, ...]], query: str, rows: int) -> list[tuple[Any, ...]]:
    """The rows, one by one as they come: what is too large is never in memory as a whole."""
    found, room = [], MOST_MB * 1_000_000
    with closing(cast("Generator[tuple[Any, ...]]", cursor.stream(query, [rows]))) as coming:
        for row in coming:
            found.append(row)
            room -= sum(len(str(value)) for value in row)
            if room < 0:
                raise QuestionRefused(f"the answer is larger than {MOST_MB} MB: ask for fewer rows, or shorter texts")
    return found


def _series(values: list[Any], kind: int) -> "pd.Series[Any]":
    """The values as pandas has them: integers are never floats on the way, since those end at 2 ** 53."""
    if kind in _MOMENTS:
        return pd.Series(pd.to_datetime(values, utc=kind == _MOMENTS[-1]))
    if kind in _WHOLE or (kind == _NUMERIC and all(_is_int64(value) for value in values if value is not None)):
        whole = pd.Series(values, dtype="Int64")
        return whole if whole.hasnans else whole.astype("int64")
    return pd.Series(values, dtype="float64" if kind == _NUMERIC else None)


def _is_int64(value: float) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _unique(names: Sequence[str]) -> list[str]:
    """The names, those that are there before with a number."""
    return [
        name if (before := names[:place].count(name)) == 0 else f"{name}_{before + 1}"
        for place, name in enumerate(names)
    ]


def _say(error: psycopg.Error, asked: str) -> str:
    """What PostgreSQL says of the question, and of which line of it; and what may help."""
    place = int(error.diag.statement_position or 0) - len(_BEFORE)
    if place > len(asked):
        return "the end of the question is not understood: is something missing there, or a parenthesis too many?"
    hint = f" ({error.diag.message_hint})" if error.diag.message_hint else ""
    text = (error.diag.message_primary or str(error)).replace(f"{_AFTER}$1", "") + hint + _HELP.get(type(error), "")
    return f"line {asked.count(chr(10), 0, place) + 1}: {text}" if place > 0 else text
