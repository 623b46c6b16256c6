"""Every statement that this process sends to PostgreSQL, through SQLAlchemy or as compiled statements.

Left out is what begins and ends transactions, what SQLAlchemy asks a new server, and the question of the read permit,
which comes by the clock.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

from psycopg import AsyncCursor
from psycopg.abc import PQGen

from wishcraft.store.statements import Call, Driver, Rows

_LEFT_OUT: Final = (
    *("BEGIN", "COMMIT", "ROLLBACK"),
    *("select pg_catalog.version()", "select current_schema()", "show "),
    "SELECT shop_id, slug FROM pending_invalidations LIMIT",
)


@contextmanager
def recorded_statements(on_statement: Callable[[str], None] = lambda _: None) -> Iterator[list[str]]:
    """The statements that are executed within the block, in order; each is also given to `on_statement`."""
    statements: list[str] = []
    execute, exchange = AsyncCursor.execute, Driver._exchange

    def record(statement: str) -> None:
        if not statement.startswith(_LEFT_OUT):
            statements.append(statement)
            on_statement(statement)

    async def record_query(cursor: AsyncCursor[Any], query: Any, *arguments: Any, **options: Any) -> AsyncCursor[Any]:
        record(query.decode() if isinstance(query, bytes) else str(query))
        return await execute(cursor, query, *arguments, **options)

    def record_calls(driver: Driver, calls: Sequence[Call], found: list[Rows]) -> PQGen[None]:
        for call in calls:
            record(call.statement.sql.decode())
        return exchange(driver, calls, found)

    with mock.patch.object(AsyncCursor, "execute", record_query), mock.patch.object(Driver, "_exchange", record_calls):
        yield statements
