"""Statements that are compiled once, and psycopg's own connections, which run them as prepared statements.

For the paths that a storefront waits for: SQLAlchemy's session costs several times what PostgreSQL's answer does.
"""

import select
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import fetch_many, send
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler

from wishcraft.database_errors import is_outdated_plan

_DIALECT: Final = dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
Rows = list[tuple[Any, ...]]


class Call(NamedTuple):
    """A statement with the values of its parameters."""

    statement: "Statement"
    parameters: Sequence[Any]


class Statement:
    """SQLAlchemy's statement as text with `$1`, and what converts its parameters and the columns of its rows."""

    def __init__(self, query: Executable, *, prepare: bool = True) -> None:
        """Compile the statement.

        Args:
            query: Its parameters are named; one that has a value in the query keeps it.
            prepare: False for one whose best plan depends on its values.
        """
        compiled = query.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
        assert isinstance(compiled, SQLCompiler)  # noqa: S101  DDL has no parameters
        self.sql: Final = compiled.string.encode()
        self.prepare: Final = prepare
        binds = compiled.binds
        self._parameters: Final = [
            (name, binds[name].type.dialect_impl(_DIALECT).bind_processor(_DIALECT))
            for name in compiled.positiontup or ()
        ]
        """Their names in order, each with the converter of its values, if there is one."""
        self._known: Final = {name: bound.effective_value for name, bound in binds.items() if not bound.required}
        columns = getattr(query, "exported_columns", ())
        converters = [column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for column in columns]
        self.converters: Final = converters if any(converters) else []
        """Converters of the values that psycopg has read, one or None for each column; empty if no column has one."""

    def __call__(self, **values: Any) -> Call:
        """The statement with these values.

        Raises:
            KeyError: A parameter has no value.
        """
        given = self._known | values if self._known else values
        return Call(self, [bind(given[name]) if bind else given[name] for name, bind in self._parameters])


_COMMIT: Final = Statement(text("COMMIT"))
ROLLBACK: Final = Statement(text("ROLLBACK"))


class Driver:
    """A connection in autocommit mode: what needs a transaction sends BEGIN and COMMIT itself.

    Parameters go as text, without a type: PostgreSQL takes the types from the statement. Statements are prepared when
    they first run, and again after a migration has outdated one of them, which fails. Pipelines are libpq's: psycopg's
    makes a cursor for each statement, and sends it by itself.
    """

    def __init__(self, connection: AsyncConnection[tuple[Any, ...]]) -> None:
        self.connection: Final = connection
        self._transformer = Transformer(connection)
        self._prepared: dict[bytes, bytes] = {}
        """The names of the prepared statements, by SQL."""
        self._numbers = count()
        self.socket_events: Final = select.poll()
        """Has an event if there is something to read, or the connection was closed."""
        self.socket_events.register(connection.fileno(), select.POLLIN)

    async def run(self, calls: Sequence[Call]) -> list[Rows]:
        """Run the statements, none of which commits, in their order and one round trip; the rows of each.

        After one that fails, none runs. Outside of a transaction, or if they begin one, a failure undoes all of them:
        then they are prepared and run again, after a migration has outdated one.

        Raises:
            psycopg.Error: One of them failed, or the connection is lost.
        """
        begins = self.connection.pgconn.transaction_status == TransactionStatus.IDLE
        found: list[Rows] = []
        try:
            await self.connection.wait(self._exchange(calls, found))
        except psycopg.NotSupportedError as error:
            if not (begins and is_outdated_plan(error)):
                raise
            if self.connection.pgconn.transaction_status == TransactionStatus.INERROR:
                await self.connection.wait(self._exchange([ROLLBACK()], []))
            found.clear()
            await self.connection.wait(self._exchange(calls, found))
        return found

    async def commit(self, reads: Sequence[Call]) -> list[Rows] | None:
        """Commit the transaction, then run statements that only read, all in one round trip.

        Returns:
            The rows of each statement; None if the transaction was committed, and one of them failed.
        """
        if self.connection.pgconn.transaction_status != TransactionStatus.INTRANS:
            # PostgreSQL takes the COMMIT of a transaction in which a statement failed for a ROLLBACK.
            raise psycopg.OperationalError("The transaction is rolled back")
        found: list[Rows] = []
        try:
            await self.connection.wait(self._exchange([_COMMIT(), *reads], found))
        except psycopg.Error as error:
            if not found:
                raise
            if is_outdated_plan(error):
                with suppress(psycopg.Error):
                    return await self.run(reads)
            return None
        return found[1:]

    def _exchange(self, calls: Sequence[Call], found: list[Rows]) -> PQGen[None]:
        """Send the statements at once, and wait for all results; adds the rows of each until the first that failed."""
        pgconn, transformer = self.connection.pgconn, self._transformer
        values = [transformer.dump_sequence(given, [PyFormat.TEXT] * len(given)) for _, given in calls]
        sent: list[tuple[Statement, bytes | None]] = []
        """Each statement, and the name under which it is prepared; None where it runs."""
        pgconn.enter_pipeline_mode()
        for (statement, _), parameters in zip(calls, values, strict=True):
            if not statement.prepare:
                pgconn.send_query_params(statement.sql, parameters)
            else:
                name = self._prepared.get(statement.sql)
                if name is None:
                    name = b"wishcraft_%d" % next(self._numbers)
                    pgconn.send_prepare(name, statement.sql)
                    sent.append((statement, name))
                pgconn.send_query_prepared(name, parameters)
            sent.append((statement, None))
        pgconn.pipeline_sync()
        yield from send(pgconn)
        results: list[PGresult] = []
        for _ in sent:
            results += yield from fetch_many(pgconn)
        end = yield from fetch_many(pgconn)  # the answer to the Sync
        if has_failed := bool(end) and end[0].status == ExecStatus.FATAL_ERROR:
            # The Sync commits what ran without BEGIN: the error of that precedes the answer.
            yield from fetch_many(pgconn)
        # A connection that does not get here is not idle, and the pool closes it.
        pgconn.exit_pipeline_mode()
        self._read(sent, results, found)
        if has_failed:
            raise self._read_error(end[0])

    def _read(
        self, sent: Sequence[tuple[Statement, bytes | None]], results: Sequence[PGresult], found: list[Rows]
    ) -> None:
        """Add the rows of each statement, and keep the names of those that are prepared, until the first that failed.

        Raises:
            psycopg.Error: Of that one.
        """
        for (statement, name), result in zip(sent, results, strict=True):
            if result.status == ExecStatus.FATAL_ERROR:
                raise self._read_error(result)
            if name is not None:
                self._prepared[statement.sql] = name
                continue
            self._transformer.set_pgresult(result)
            rows: Rows = self._transformer.load_rows(0, result.ntuples, tuple)
            if converters := statement.converters:
                rows = [
                    tuple(convert(value) if convert else value for convert, value in zip(converters, row, strict=True))
                    for row in rows
                ]
            found.append(rows)

    def _read_error(self, result: PGresult) -> psycopg.Error:
        """The error of a result. After that of an outdated plan, all statements are prepared again."""
        error = error_from_result(result, encoding="utf-8")
        if is_outdated_plan(error):  # of one statement; others may be, too
            self._prepared.clear()
        return error
