"""The servers of the coherence state machine: a Valkey that can be killed, and PostgreSQL."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final, TypeVar

import psycopg

from tests.support.valkey import OwnValkey
from wishcraft.cache import keys
from wishcraft.cache.client import connect
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.errors import CacheUnavailable

PROCESSES: Final = 2

T = TypeVar("T")


class World:
    """The servers, shared by all tests of a module."""

    def __init__(self, valkey: OwnValkey, database_url: str) -> None:
        self.valkey = valkey
        self.runner = asyncio.Runner()
        self.servers = [connect(valkey.url, timeout=10) for _ in range(PROCESSES)]
        self.reading = psycopg.connect(database_url, autocommit=True)
        self.writing = psycopg.connect(database_url)
        self.reading.execute("CREATE TABLE coherence (version bigint NOT NULL)")
        self.reading.execute("INSERT INTO coherence VALUES (1)")

    def run(self, awaitable: Awaitable[T]) -> T:
        async def wait() -> T:
            return await awaitable

        return self.runner.run(wait())

    def reset(self) -> None:
        self.valkey.forget_snapshot()
        self.run(self.servers[0].redis.flushall())
        self.reading.execute("UPDATE coherence SET version = 1")
        self.end_hold()

    def end_hold(self) -> None:
        self.run(self.servers[0].learn_era())
        self.run(self.servers[0].redis.hset(keys.ERA, "since", "0"))

    def restart_valkey(self) -> None:
        self.valkey.kill()
        self.valkey.start()
        for server in self.servers:
            with suppress(CacheUnavailable):  # the connections of before are closed
                self.run(server.learn_era())

    def load(self) -> CachedRegistry:
        row = self.reading.execute("SELECT version FROM coherence").fetchone()
        assert row
        return CachedRegistry(row[0], AccessLevel.OPEN, 0, b"%d" % row[0])

    def close(self) -> None:
        self.writing.close()
        self.reading.execute("DROP TABLE coherence")
        self.reading.close()
        for server in self.servers:
            self.run(server.close())
        self.runner.close()
