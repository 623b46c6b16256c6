"""A dump of all tables, and its restore, as `pg_dump` and `pg_restore` do it for the data."""

from typing import Final

from psycopg.sql import SQL, Composed, Identifier

from tests.support.aliases import Demo
from wishcraft.store.schema import Base

Tables = Demo
_COLUMNS: Final = """
SELECT array_agg(column_name::text ORDER BY ordinal_position) FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = %s AND is_generated = 'NEVER'
"""


def dump(connection: Tables) -> dict[str, bytes]:
    """The rows of each table."""
    return {table.name: _copied(connection, table.name) for table in Base.metadata.sorted_tables}


def restore(connection: Tables, dumped: dict[str, bytes]) -> None:
    """Make the tables hold what they held then."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # the rows fit together: check no keys
        for table, rows in dumped.items():
            connection.execute(SQL("DELETE FROM {}").format(Identifier(table)))
            with connection.cursor().copy(SQL("COPY {} FROM STDIN BINARY").format(_named(connection, table))) as copy:
                copy.write(rows)


def _copied(connection: Tables, table: str) -> bytes:
    with connection.cursor().copy(SQL("COPY {} TO STDOUT BINARY").format(_named(connection, table))) as copy:
        return b"".join(map(bytes, copy))


def _named(connection: Tables, table: str) -> Composed:
    row = connection.execute(_COLUMNS, [table]).fetchone()
    assert row
    return SQL("{} ({})").format(Identifier(table), SQL(", ").join(map(Identifier, row[0])))
