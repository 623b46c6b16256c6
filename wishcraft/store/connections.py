"""Use of the connection pool, and a probe of PostgreSQL that works when the pool is exhausted."""

from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from wishcraft.database_errors import translate_database_errors
from wishcraft.store.engine import Database

_REVISION: Final = text("SELECT version_num FROM alembic_version")
_MISSING_FUNCTIONS: Final = text("""
SELECT name FROM unnest(ARRAY['set_config(text, text, boolean)', 'nextval(regclass)']) AS name
WHERE NOT has_function_privilege(name, 'EXECUTE')
""")


class Connections(NamedTuple):
    """Connections of this process's pool."""

    in_use: int
    idle: int
    limit: int


def count_connections(db: Database) -> Connections:
    """The current use of the pool."""
    pool = db.engine.sync_engine.pool
    assert isinstance(pool, QueuePool)  # noqa: S101  how the engine is built
    return Connections(pool.checkedout(), pool.checkedin(), pool.size())


async def read_revision(db: Database) -> str:
    """The revision of the latest applied migration.

    Uses a connection outside of the pool if the pool is exhausted: an exhausted pool is not an unavailable database.

    Raises:
        DatabaseUnavailable: PostgreSQL did not answer.
    """
    connections = count_connections(db)
    if connections.in_use < connections.limit:
        async with db.connection() as connection:
            return await _read_revision(connection)
    engine = create_async_engine(db.engine.url, poolclass=NullPool, connect_args={"connect_timeout": 1})
    with translate_database_errors():
        async with engine.connect() as connection:
            return await _read_revision(connection)


async def find_missing_functions(db: Database) -> list[str]:
    """The functions that changes need and the login may not execute, as after `analysts.sql` if it owns no database.

    Raises:
        DatabaseUnavailable: PostgreSQL did not answer.
    """
    async with db.connection() as connection:
        return list(await connection.scalars(_MISSING_FUNCTIONS))


async def _read_revision(connection: AsyncConnection) -> str:
    return str((await connection.execute(_REVISION)).scalar_one())
