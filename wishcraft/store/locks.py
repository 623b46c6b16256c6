"""Advisory locks of PostgreSQL, between processes, for long work on one shop.

A lock belongs to a connection and ends with it, so a killed process leaves none. It only saves duplicate work: a lost
connection loses the lock at once, so correctness rests on row locks and versions.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from wishcraft.store.engine import Database

_TRY: Final = text("SELECT pg_try_advisory_lock(hashtextextended(:key, 0))")
_WAIT: Final = text("SELECT pg_advisory_lock(hashtextextended(:key, 0))")
_RELEASE: Final = text("SELECT pg_advisory_unlock_all()")
_NO_TIMEOUTS: Final = text("SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)")


@asynccontextmanager
async def acquire(db: Database, name: str, shop: int | str) -> AsyncIterator[None]:
    """Hold the shop's lock `name` for the duration of the context; wait for it without a time limit.

    Args:
        db: One of its connections is in use for the duration of the context.
        name: The kind of work, such as `token`.
        shop: Id or domain; all callers of one `name` pass the same of the two.

    Raises:
        DatabaseUnavailable: PostgreSQL did not answer.
    """
    async with _own_connection(db) as connection:
        await connection.execute(_NO_TIMEOUTS)
        await connection.execute(_WAIT, {"key": _key(name, shop)})
        yield


@asynccontextmanager
async def try_acquire(db: Database, name: str, shop: int | str) -> AsyncIterator[bool]:
    """As `acquire`, without waiting: yields False if another process holds the lock."""
    async with _own_connection(db) as connection:
        yield bool((await connection.execute(_TRY, {"key": _key(name, shop)})).scalar_one())


@asynccontextmanager
async def _own_connection(db: Database) -> AsyncIterator[AsyncConnection]:
    """A connection that is closed on leaving instead of returned to the pool, which ends its locks."""
    async with db.connection() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            yield connection
        finally:
            # The server notices a closed connection a moment later; until then the lock would still be taken.
            with suppress(SQLAlchemyError):
                await connection.execute(_RELEASE)
            await connection.invalidate()


def _key(name: str, shop: int | str) -> str:
    return f"{name}:{shop}"
