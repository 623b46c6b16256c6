"""Every statement that this process sends to PostgreSQL, through SQLAlchemy or through psycopg itself.

Left out is what begins and ends transactions, what SQLAlchemy asks a new server, and the question of the read permit,
which comes by the clock.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock

from psycopg import AsyncCursor

_LEFT_OUT: Final = (
    *("BEGIN", "COMMIT", "ROLLBACK"),
    *("select pg_catalog.version()", "select current_schema()", "show "),
    "SELECT shop_id, slug FROM pending_invalidations LIMIT",
)


@contextmanager
def recorded_statements(on_statement: Callable[[str], None] = lambda _: None) -> Iterator[list[str]]:
    """The statements that are executed within the block, in order; each is also given to `on_statement`."""
    statements: list[str] = []
    execute = AsyncCursor.execute

    async def note(cursor: AsyncCursor[Any], query: Any, *arguments: Any, **options: Any) -> AsyncCursor[Any]:
        statement = query.decode() if isinstance(query, bytes) else str(query)
        if not statement.startswith(_LEFT_OUT):
            statements.append(statement)
            on_statement(statement)
        return await execute(cursor, query, *arguments, **options)

    with mock.patch.object(AsyncCursor, "execute", note):
        yield statements
