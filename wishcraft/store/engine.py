"""How the application connects to PostgreSQL: pools and timeouts, set here alone."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

Database = async_sessionmaker[AsyncSession]
"""Opens units of work: `async with db.begin() as session` commits at its end, or rolls back."""

_TIMEOUTS: Final = (
    "-c lock_timeout=5s -c statement_timeout=30s -c idle_in_transaction_session_timeout=30s -c timezone=UTC"
)


def create_engine(url: str, *, pool_size: int = 10) -> AsyncEngine:
    """An engine of at most `pool_size` connections; a caller waits 5 s for one, a connect takes 3 s at most.

    `url` names psycopg as its driver, as `Settings.database_url` does.
    """
    return create_async_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={"options": _TIMEOUTS, "connect_timeout": 3, "application_name": "wishcraft"},
    )


def create_database(engine: AsyncEngine) -> Database:
    """Units of work on the engine; objects stay usable after their commit."""
    return async_sessionmaker(engine, expire_on_commit=False)
