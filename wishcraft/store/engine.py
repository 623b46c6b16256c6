"""How the application connects to PostgreSQL: pools, timeouts and the kinds of units of work, set here alone."""

from contextlib import AbstractAsyncContextManager
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

_TIMEOUTS: Final = (
    "-c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s -c timezone=UTC"
)

_CONNECTION: Final = {
    "options": _TIMEOUTS,
    "connect_timeout": 3,
    "application_name": "wishcraft",
    # A server that has vanished without a word is noticed in some ten seconds instead of a quarter of an hour.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


class Database:
    """One pool of connections and the units of work on it. Leaving a unit commits it; an exception rolls it back."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        """`url` names psycopg as its driver, as `Settings.database_url` does; nothing connects yet.

        A caller waits 5 s at most for one of the `pool_size` connections, and a connect takes 3 s at most.
        """
        self.engine: Final = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=True,
            hide_parameters=True,  # in messages: they are people's names and addresses
            connect_args=_CONNECTION,
        )
        self._transactions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._repeatable_reads = async_sessionmaker(
            self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True),
            expire_on_commit=False,
        )
        self._autocommits = async_sessionmaker(
            self.engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False
        )

    def autocommit(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A session in autocommit mode, for a single query: no BEGIN and COMMIT round trips."""
        return self._autocommits()

    def transaction(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A read-write transaction (READ COMMITTED)."""
        return self._transactions.begin()

    def repeatable_read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A read-only REPEATABLE READ transaction: all of its queries see one snapshot."""
        return self._repeatable_reads.begin()

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
