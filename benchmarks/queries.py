"""Statements that PostgreSQL executed, from pg_stat_statements; without BEGIN, COMMIT and SET."""

from typing import Any, Final, NamedTuple

from psycopg import Connection

_READ: Final = """
SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(total_exec_time), 0)
FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'
"""


class Queries(NamedTuple):
    """Number of statements and their execution time in milliseconds, without planning."""

    statements: int
    milliseconds: float

    def since(self, before: "Queries") -> "Queries":
        """The statements after `before` was read."""
        return Queries(self.statements - before.statements, self.milliseconds - before.milliseconds)


def start_counting(connection: Connection[tuple[Any, ...]]) -> None:
    """Create the extension, once per database; the server must preload pg_stat_statements."""
    connection.execute("CREATE EXTENSION pg_stat_statements")


def read_queries(connection: Connection[tuple[Any, ...]]) -> Queries:
    """All statements so far."""
    [(statements, milliseconds)] = connection.execute(_READ).fetchall()
    return Queries(statements, milliseconds)
