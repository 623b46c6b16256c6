"""Every statement that this process sends to PostgreSQL, through SQLAlchemy or through psycopg itself."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from psycopg import AsyncCursor


@contextmanager
def recorded_statements(on_statement: Callable[[str], None] = lambda _: None) -> Iterator[list[str]]:
    """The statements that are executed within the block, in order; each is also given to `on_statement`."""
    statements: list[str] = []
    execute = AsyncCursor.execute

    async def note(cursor: AsyncCursor[Any], query: Any, *arguments: Any, **options: Any) -> AsyncCursor[Any]:
        statement = query.decode() if isinstance(query, bytes) else str(query)
        statements.append(statement)
        on_statement(statement)
        return await execute(cursor, query, *arguments, **options)

    with mock.patch.object(AsyncCursor, "execute", note):
        yield statements
