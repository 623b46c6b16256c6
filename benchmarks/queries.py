"""What PostgreSQL has been asked, counted by itself (pg_stat_statements): each statement but BEGIN, COMMIT and SET."""

from typing import Any, Final, NamedTuple

from psycopg import Connection

_READ: Final = """
SELECT coalesce(sum(calls), 0)::bigint, coalesce(sum(total_exec_time), 0)
FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%'
"""


class Queries(NamedTuple):
    """How many, and how many milliseconds PostgreSQL worked on them, planning left out."""

    asked: int
    milliseconds: float

    def since(self, before: "Queries") -> "Queries":
        """Those after `before` was read."""
        return Queries(self.asked - before.asked, self.milliseconds - before.milliseconds)


def start_counting(connection: Connection[tuple[Any, ...]]) -> None:
    """Once for each database; the server must have been started to count."""
    connection.execute("CREATE EXTENSION pg_stat_statements")


def read_queries(connection: Connection[tuple[Any, ...]]) -> Queries:
    """What has been asked so far."""
    [(asked, milliseconds)] = connection.execute(_READ).fetchall()
    return Queries(asked, milliseconds)
