"""Statements that are compiled once and run as prepared statements, on psycopg's own connection of the pool.

For the paths that a storefront waits for: SQLAlchemy's session costs several times what PostgreSQL's answer does.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler

from wishcraft.database_errors import is_outdated_plan

_DIALECT: Final = dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]
_COMMITTED: Final = "COMMIT"
Driver = AsyncConnection[tuple[Any, ...]]
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
        self._names: Final = tuple(compiled.positiontup or ())
        self._binds: Final = {name: _bind(bound.type) for name, bound in compiled.binds.items()}
        self._known: Final = {
            name: self._binds[name](bound.effective_value)
            for name, bound in compiled.binds.items()
            if not bound.required
        }
        columns = getattr(query, "exported_columns", ())
        results = [column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for column in columns]
        self._results: Final = results if any(results) else None

    def __call__(self, **values: Any) -> Call:
        """The statement with these values.

        Raises:
            KeyError: A parameter has no value.
        """
        binds, known = self._binds, self._known
        return Call(self, [binds[name](values[name]) if name in values else known[name] for name in self._names])

    def convert(self, rows: Rows) -> Rows:
        """The rows that psycopg has read, as SQLAlchemy's types have them."""
        if self._results is None:
            return rows
        return [
            tuple(process(value) if process else value for process, value in zip(self._results, row, strict=True))
            for row in rows
        ]


async def fetch(driver: Driver, call: Call) -> Rows:
    """Run one statement; its rows."""
    statement, parameters = call
    cursor = AsyncRawCursor(driver)
    await cursor.execute(statement.sql, parameters, prepare=statement.prepare)
    return statement.convert(await cursor.fetchall()) if cursor.description else []


async def fetch_each(driver: Driver, calls: Sequence[Call]) -> list[Rows]:
    """Run the statements in their order, in one round trip; the rows of each. After one that fails, none runs."""
    if len(calls) == 1:
        return [await fetch(driver, calls[0])]
    cursors = []
    async with driver.pipeline():
        for statement, parameters in calls:
            cursor = AsyncRawCursor(driver)
            cursors.append(cursor)
            await cursor.execute(statement.sql, parameters, prepare=statement.prepare)
    return [
        call.statement.convert(await cursor.fetchall()) if cursor.description else []
        for call, cursor in zip(calls, cursors, strict=True)
    ]


async def commit(driver: Driver, calls: Sequence[Call]) -> list[Rows] | None:
    """Commit the transaction, then run statements that only read, all in one round trip.

    Returns:
        The rows of each statement; None if the transaction was committed, and one of them failed.
    """
    cursor = AsyncRawCursor(driver)
    reads = [AsyncRawCursor(driver) for _ in calls]
    try:
        async with driver.pipeline():
            await cursor.execute(b"COMMIT")
            for read, (statement, parameters) in zip(reads, calls, strict=True):
                await read.execute(statement.sql, parameters, prepare=statement.prepare)
        if cursor.statusmessage != _COMMITTED:  # PostgreSQL rolls a transaction back in which a statement failed
            raise psycopg.OperationalError("The transaction was rolled back")
        return [
            call.statement.convert(await read.fetchall()) if read.description else []
            for call, read in zip(calls, reads, strict=True)
        ]
    except psycopg.Error as error:
        if cursor.statusmessage != _COMMITTED:
            raise
        if is_outdated_plan(error):
            await deallocate_prepared(driver)
        return None


async def deallocate_prepared(driver: Driver) -> None:
    """Let the connection prepare its statements anew: it would go on with those that a migration has outdated."""
    await driver.execute(b"DEALLOCATE ALL")


def _bind(type_: Any) -> Any:
    return type_.dialect_impl(_DIALECT).bind_processor(_DIALECT) or _unchanged


def _unchanged(value: Any) -> Any:
    return value
