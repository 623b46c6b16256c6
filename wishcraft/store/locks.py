"""Locks between processes, for work on a shop that asks others for long: PostgreSQL keeps them, no clock does.

A lock is its connection's, not a transaction's, and ends with it, however that ends. It saves work being done twice;
what must never be wrong is held by row locks and versions, because a lost connection loses its lock at once.
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
_PATIENCE: Final = text("SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)")


@asynccontextmanager
async def acquire(db: Database, name: str, shop: int | str) -> AsyncIterator[None]:
    """Be the only one, in any process, inside `name` for the shop; waits for as long as another one is.

    Args:
        db: Lends one connection for as long as the context lasts.
        name: What is locked, such as `token`.
        shop: Its id, or its domain where that is what all parties know it by.
    """
    async with _own_connection(db) as connection:
        await connection.execute(_PATIENCE)
        await connection.execute(_WAIT, {"key": _key(name, shop)})
        yield


@asynccontextmanager
async def try_acquire(db: Database, name: str, shop: int | str) -> AsyncIterator[bool]:
    """As `hold`, but never waits: says whether the lock was had, and with False nothing is held."""
    async with _own_connection(db) as connection:
        yield bool((await connection.execute(_TRY, {"key": _key(name, shop)})).scalar_one())


@asynccontextmanager
async def _own_connection(db: Database) -> AsyncIterator[AsyncConnection]:
    """A connection that is closed in the end instead of going back to the pool, and its locks with it."""
    async with db.connection() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            yield connection
        finally:
            # The server notices a closed connection a moment later: whoever comes next is not to find the lock taken.
            with suppress(SQLAlchemyError):
                await connection.execute(_RELEASE)
            await connection.invalidate()


def _key(name: str, shop: int | str) -> str:
    return f"{name}:{shop}"
