"""One PostgreSQL and one Valkey per test session, shared by all its workers: a database and a Redis index each.

TEST_DATABASE_URL and TEST_REDIS_URL name servers to use instead; what the latter holds is deleted.
"""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from redis.asyncio import Redis

from deployments.sandbox.postgres import postgres
from deployments.sandbox.valkey import valkey

WITHOUT_SERVERS: Final = ("tests/domain", "tests/test_architecture.py", "tests/test_docs.py")  # `make test-unit`
WORKER: Final = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
_servers = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers in the controller, before it starts its workers, which inherit their URLs."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.option.collectonly or all(arg.startswith(WITHOUT_SERVERS) for arg in config.args):
        return
    folder = Path(_servers.enter_context(tempfile.TemporaryDirectory(prefix="wishcraft-tests-")))
    if "TEST_DATABASE_URL" not in os.environ:
        os.environ["TEST_DATABASE_URL"] = _servers.enter_context(postgres(folder, durable=False))
    if "TEST_REDIS_URL" not in os.environ:
        os.environ["TEST_REDIS_URL"] = _servers.enter_context(valkey(folder, durable=False))


def pytest_unconfigure() -> None:
    """Stop what the controller started."""
    _servers.close()


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """This worker's own database with the current schema; tests are to roll back or clean up what they write."""
    from wishcraft.migrations import upgrade  # late: `make test-unit` needs no Alembic

    server = os.environ["TEST_DATABASE_URL"]
    name = f"wishcraft_test_{WORKER}_{os.getpid()}"
    url = urlsplit(server)._replace(path=f"/{name}").geturl()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        upgrade(url)
        yield url
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture(scope="session")
def redis_url() -> str:
    """This worker's own Redis database."""
    return urlsplit(os.environ["TEST_REDIS_URL"])._replace(path=f"/{WORKER.removeprefix('gw')}").geturl()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """An empty Redis; a test that leaves a key without a time to live fails, but for the declared exceptions."""
    from wishcraft.cache.keys import WITHOUT_TTL

    async with Redis.from_url(redis_url) as client:
        await client.flushdb()
        yield client
        keys = [key async for key in client.scan_iter()]
        endless = [key.decode() for key in keys if await client.ttl(key) == -1]
        leaks = [key for key in endless if not any(fnmatchcase(key, pattern) for pattern in WITHOUT_TTL)]
        if leaks:
            pytest.fail(f"these Redis keys would live forever: {', '.join(sorted(leaks))}")
