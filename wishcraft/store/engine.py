"""The connection pool of PostgreSQL, its timeouts, and the units of work; translates database errors."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, NullPool, PoolProxiedConnection, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util.concurrency import greenlet_spawn

from wishcraft.database_errors import translate_database_errors
from wishcraft.store.statements import ROLLBACK, Call, Driver, Rows, Statement
from wishcraft.urls.postgresql import with_defaults

_TIMEOUTS: Final = (
    "-c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s -c timezone=UTC"
)

_BEGIN: Final = Statement(text("BEGIN"))
_PING: Final = Statement(text("SELECT 1"))
_OPEN: Final = {TransactionStatus.INTRANS, TransactionStatus.INERROR}
_DRIVER: Final = "wishcraft.driver"
"""Where the pool has the `Driver` of a connection that was used before."""
_CONNECTION: Final = {
    "connect_timeout": 3,
    "application_name": "wishcraft",
    "prepare_threshold": None,  # psycopg's own prepared statements end with a rollback, and ours with them
    # A server that vanished without closing its connections is noticed after about 10 s, instead of 15 minutes.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Database:
    """One connection pool and the units of work on it. Leaving a unit of work commits it; an exception rolls it back.

    Each context manager raises DatabaseUnavailable and DatabaseRefused in place of the driver's errors, on entering,
    in its block and on commit (see `wishcraft.database_errors`).
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """Create the pool; connections are opened on demand.

        A caller waits at most 5 s for one of the `pool_size` connections. Connecting takes at most 3 s, unless the URL
        has another `connect_timeout`.

        Args:
            url: Names psycopg as its driver, as `Settings.database_url` does.
            pool_size: The most connections that are open at once.
        """
        connection = with_defaults(url, _CONNECTION, _TIMEOUTS)
        self.engine: Final = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            use_native_hstore=False,  # no column has that type: spares each pool a query
            hide_parameters=True,  # keeps names and e-mail addresses out of error messages
            connect_args=connection,
        )
        event.listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self._unpooled = create_async_engine(
            url, poolclass=NullPool, use_native_hstore=False, hide_parameters=True, connect_args=connection
        )
        self._transactions = async_sessionmaker(
            self.engine.execution_options(isolation_level="READ COMMITTED"), expire_on_commit=False
        )
        self._repeatable_reads = async_sessionmaker(
            self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
            expire_on_commit=False,
        )
        self._autocommits = async_sessionmaker(self.engine, expire_on_commit=False)

    async def fetch(self, call: Call) -> Rows:
        """As `fetch_each`, the rows of one statement."""
        return (await self.fetch_each([call]))[0]

    async def fetch_each(self, calls: Sequence[Call], *, only_reads: bool = True) -> list[Rows]:
        """The rows of statements without BEGIN and COMMIT, in one round trip.

        If their connection turns out lost, those that only read are sent again, once.

        Raises:
            DatabaseUnavailable, DatabaseRefused: As the units of work.
        """
        with translate_database_errors():
            for may_repeat in (only_reads, False):
                proxy = await self.engine.raw_connection()
                driver: Driver = proxy.info[_DRIVER]
                try:
                    return await driver.run(calls)
                except psycopg.OperationalError:
                    if not (may_repeat and driver.connection.closed):
                        raise
                finally:
                    await _give_back(proxy)
        raise AssertionError  # the second turn returns or raises

    async def ping(self) -> None:
        """Ask PostgreSQL for an answer.

        Raises:
            DatabaseUnavailable: There is none.
        """
        await self.fetch(_PING())

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncSession]:
        """A session in autocommit mode, for a single query: no BEGIN and COMMIT round trips."""
        with translate_database_errors():
            async with self._autocommits() as session:
                yield session

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A read-write transaction (READ COMMITTED)."""
        with translate_database_errors():
            async with self._transactions.begin() as session:
                yield session

    @asynccontextmanager
    async def write(self, first: Sequence[Call]) -> AsyncIterator["WriteTransaction"]:
        """A read-write transaction (READ COMMITTED) that begins with these statements; an exception rolls it back.

        Its block calls `Driver.commit`.
        """
        with translate_database_errors():
            proxy = await self.engine.raw_connection()
            try:
                write = WriteTransaction(self.engine, proxy, proxy.info[_DRIVER])
                _, *write.first = await write.driver.run([_BEGIN(), *first])
                yield write
            finally:
                await _give_back(proxy)

    @asynccontextmanager
    async def repeatable_read(self) -> AsyncIterator[AsyncSession]:
        """A read-only REPEATABLE READ transaction: all of its queries see one snapshot."""
        with translate_database_errors():
            async with self._repeatable_reads.begin() as session:
                yield session

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection in autocommit mode outside of a unit of work, for health probes."""
        with translate_database_errors():
            async with self.engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def own_connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection in autocommit mode beside the pool, for locks: the holder of one needs the pool for its work."""
        with translate_database_errors():
            async with self._unpooled.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


@dataclass(slots=True, eq=False)
class WriteTransaction:
    """A transaction on the driver's own connection, and a session of SQLAlchemy within it."""

    _engine: AsyncEngine
    _proxy: PoolProxiedConnection
    driver: Driver
    first: list[Rows] = field(default_factory=list)
    """The rows of the statements that it began with."""
    _session: AsyncSession | None = None

    @property
    def session(self) -> AsyncSession:
        """A session, for rare statements; neither commit it nor roll it back."""
        if self._session is None:
            connection = Connection(self._engine.sync_engine, self._proxy)
            self._session = AsyncSession(AsyncConnection(self._engine, connection), expire_on_commit=False)
        return self._session


async def _give_back(proxy: PoolProxiedConnection) -> None:
    """Return a connection to the pool; roll back what is not committed. Close one within a statement, or lost."""
    driver: Driver | None = proxy.info[_DRIVER] if proxy.is_valid else None
    try:
        if driver and driver.connection.pgconn.transaction_status in _OPEN:
            await driver.run([ROLLBACK()])
    finally:
        if driver is None or driver.connection.pgconn.transaction_status == TransactionStatus.IDLE:
            proxy.close()
        else:
            await greenlet_spawn(proxy.invalidate)


def _refuse_closed(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Before each use, without a round trip: PostgreSQL sends an idle connection nothing before it closes it.

    A new connection is used in any case: SQLAlchemy would take a second refusal for a bug.
    """
    driver: Driver | None = record.info.get(_DRIVER)
    if driver is None:
        record.info[_DRIVER] = Driver(connection.driver_connection)
    elif driver.socket_events.poll(0):
        raise DisconnectionError
