"""How many connections to PostgreSQL there are, and whether it answers when none is free."""

from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from wishcraft.database_errors import translate_database_errors
from wishcraft.store.engine import Database

_REVISION: Final = text("SELECT version_num FROM alembic_version")


class Connections(NamedTuple):
    """Of this process."""

    in_use: int
    idle: int
    limit: int


def count_connections(db: Database) -> Connections:
    """As they are now."""
    pool = db.engine.sync_engine.pool
    assert isinstance(pool, QueuePool)  # noqa: S101  how the engine is built
    return Connections(pool.checkedout(), pool.checkedin(), pool.size())


async def read_revision(db: Database) -> str:
    """The migration that the database is at.

    Asks over a connection of its own if all are in use, to tell a busy process from a database that is away.
    """
    connections = count_connections(db)
    if connections.in_use < connections.limit:
        async with db.connection() as connection:
            return await _read_revision(connection)
    engine = create_async_engine(db.engine.url, poolclass=NullPool, connect_args={"connect_timeout": 1})
    with translate_database_errors():
        async with engine.connect() as connection:
            return await _read_revision(connection)


async def _read_revision(connection: AsyncConnection) -> str:
    return str((await connection.execute(_REVISION)).scalar_one())
