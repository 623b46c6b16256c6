"""Locks between processes, for long work on one shop: rows of a table that only the application may use.

A lock belongs to a connection and ends with it, so a killed process leaves none, and no transaction is open meanwhile.
It only saves duplicate work: a lost connection loses the lock at once, so correctness rests on row locks and versions.
PostgreSQL's advisory locks would do the same, but every role of the database can take them.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

from sqlalchemy import delete, insert, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from wishcraft.store.engine import Database
from wishcraft.store.schema import Lock

POLL_SECONDS: Final = 0.1
_IDENTIFY: Final = text("SELECT pid, backend_start FROM pg_stat_get_activity(pg_backend_pid())")
# The list of backends is read once the row is locked, so it contains the row's holder, however young. The start of a
# backend of another login is NULL: it counts as the holder's.
_TAKE: Final = text("""
INSERT INTO locks AS l (name, pid, started) VALUES (:name, :pid, :started)
ON CONFLICT (name) DO UPDATE SET pid = excluded.pid, started = excluded.started
WHERE l.started < pg_postmaster_start_time() OR NOT EXISTS (
    SELECT FROM pg_stat_get_activity(l.pid) holder WHERE coalesce(holder.backend_start, l.started) = l.started
)
RETURNING true
""")
_local: Final = WeakKeyDictionary[Database, WeakValueDictionary[str, asyncio.Lock]]()
_RELEASE: Final = text("DELETE FROM locks WHERE pid = :pid AND started = :started")


class _Holder(NamedTuple):
    """A connection, as PostgreSQL identifies it: process ids alone are reused."""

    connection: AsyncConnection
    pid: int
    started: datetime

    async def take(self, name: str) -> bool:
        """Whether the lock was free, or its holder's connection has ended."""
        values = {"name": name, "pid": self.pid, "started": self.started}
        return bool((await self.connection.execute(_TAKE, values)).scalar())

    async def release(self) -> None:
        """Release its locks."""
        await self.connection.execute(_RELEASE, {"pid": self.pid, "started": self.started})


@asynccontextmanager
async def acquire(db: Database, name: str, shop: int | str) -> AsyncIterator[None]:
    """Hold the shop's lock `name` for the duration of the context; wait for it without a time limit.

    Args:
        db: A connection beside its pool is in use for the duration of the context.
        name: The kind of work, such as `token`.
        shop: Id or domain; all callers of one `name` pass the same of the two.

    Raises:
        DatabaseUnavailable: PostgreSQL did not answer.
    """
    async with _local_lock(db, f"{name}:{shop}"), _holder(db) as holder:
        while not await holder.take(f"{name}:{shop}"):  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(POLL_SECONDS)
        yield


async def serialise(session: AsyncSession, *names: str) -> None:
    """Let other transactions that call this with one of these names wait for the end of this one.

    The rows are inserted in the order of their names, and deleted at once: another insertion of a name still waits for
    the end of this transaction.
    """
    await session.execute(insert(Lock).values([{"name": name} for name in sorted(names)]))
    await session.execute(delete(Lock).where(Lock.name.in_(names)))


@asynccontextmanager
async def try_acquire(db: Database, name: str, shop: int | str) -> AsyncIterator[bool]:
    """As `acquire`, without waiting: yields False if another process holds the lock."""
    lock = _local_lock(db, f"{name}:{shop}")
    if lock.locked():
        yield False
        return
    async with lock, _holder(db) as holder:
        yield await holder.take(f"{name}:{shop}")


def _local_lock(db: Database, name: str) -> asyncio.Lock:
    """The lock among the tasks of this process: only one of them needs a connection to wait for other processes."""
    locks = _local.setdefault(db, WeakValueDictionary())
    return locks.setdefault(name, asyncio.Lock())


@asynccontextmanager
async def _holder(db: Database) -> AsyncIterator[_Holder]:
    """A connection that is closed on leaving, which ends its locks."""
    async with db.own_connection() as connection:
        holder = _Holder(connection, *(await connection.execute(_IDENTIFY)).one())
        try:
            yield holder
        finally:
            # The server notices a closed connection a moment later; until then the lock would still be taken.
            with suppress(SQLAlchemyError):
                await holder.release()
