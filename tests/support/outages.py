"""Outages of PostgreSQL, and the end of an outage of Redis."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import psycopg

from tests.support.api import app_state_of
from tests.support.waiting import wait_until
from wishcraft.errors import CacheUnavailable
from wishcraft.settings import Settings


async def recovered(client: httpx.AsyncClient) -> None:
    """Wait until the API uses Redis again, for all registries."""
    app_state = app_state_of(client)
    redis = app_state.resources.redis
    breaker = redis.breaker
    assert breaker

    async def is_used() -> bool:
        if breaker.is_open or app_state.permit.has_pending:
            return False
        with suppress(CacheUnavailable):  # a closed breaker says only that the next command is sent
            await redis.learn_era()
            return not breaker.is_open
        return False

    await wait_until(is_used)


@contextmanager
def postgresql_unavailable(settings: Settings) -> Iterator[None]:
    """Meanwhile the test's database refuses connections, and has none."""
    _administer(settings, "ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        _administer(
            settings,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = '{name}' AND application_name = 'wishcraft'",
        )
        yield
    finally:
        _administer(settings, "ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def _administer(settings: Settings, statement: str) -> None:
    url, _, name = settings.database_url.replace("+psycopg", "").rpartition("/")
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute(statement.format(name=name).encode())


def unreachable(settings: Settings, *stores: str) -> Settings:
    """The settings with these stores at closed ports, and no replica."""
    nowhere = {"database_url": "postgresql+psycopg://nobody@127.0.0.1:1/none", "redis_url": "redis://127.0.0.1:1/0"}
    return settings.model_copy(update={"database_replica_url": None, **{store: nowhere[store] for store in stores}})
