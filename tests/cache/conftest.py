"""Caches on the session's Valkey, and connections to a Valkey of the test's own."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.support.valkey import OwnValkey
from wishcraft.cache.client import Server, connect
from wishcraft.cache.registries import RegistryCache


@pytest.fixture
async def own_server(own_valkey: OwnValkey) -> AsyncIterator[Server]:
    server = connect(own_valkey.url, timeout=5)
    yield server
    await server.close()


@pytest.fixture
async def server(redis: Redis, redis_url: str) -> AsyncIterator[Server]:
    assert redis is not None  # the fixture checks for keys without a TTL afterwards
    server = connect(redis_url, timeout=5)
    yield server
    await server.close()


@pytest.fixture
async def cache(server: Server) -> RegistryCache:
    """A cache without a hold."""
    return RegistryCache(server, hold_seconds=0)


@pytest.fixture
def own_cache(own_server: Server) -> RegistryCache:
    return RegistryCache(own_server, hold_seconds=0)
