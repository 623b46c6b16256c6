"""The servers of the coherence state machine: a Valkey that can be killed, and PostgreSQL."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final, TypeVar

import psycopg

from tests.support.valkey import OwnValkey
from wishcraft.cache import keys
from wishcraft.cache.circuit_breaker import CircuitBreaker
from wishcraft.cache.client import connect
from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.errors import CacheUnavailable

PROCESSES: Final = 2

T = TypeVar("T")


class Link(CircuitBreaker):
    """A process's way to Valkey, in the place of its circuit breaker: open while it is cut, and never by itself."""

    is_cut = False

    def __init__(self) -> None:
        """A way that is not cut."""

    @property
    def is_open(self) -> bool:
        return self.is_cut

    def check(self) -> None:
        if self.is_cut:
            raise CacheUnavailable("cut off")

    def open(self, cause: object) -> None:
        pass

    async def stop(self) -> None:
        pass


class World:
    """The servers, shared by all tests of a module."""

    def __init__(self, valkey: OwnValkey, database_url: str) -> None:
        self.valkey = valkey
        self.runner = asyncio.Runner()
        self.servers = [connect(valkey.url, timeout=10) for _ in range(PROCESSES)]
        self.links = [Link() for _ in range(PROCESSES)]
        for server, link in zip(self.servers, self.links, strict=True):
            server.breaker = server._reads._breaker = server._scripts._breaker = link
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
        self.reading.execute("DELETE FROM pending_invalidations")
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

    def announce(self, shop_id: int, slug: str, version: int, *, first: bool) -> None:
        """Record a pending invalidation, `first` in a transaction of its own."""
        connection = self.reading if first else self.writing
        connection.execute(
            """INSERT INTO pending_invalidations AS p (shop_id, slug, version) VALUES (%s, %s, %s)
               ON CONFLICT (shop_id, slug) DO UPDATE SET version = greatest(p.version, excluded.version)""",
            [shop_id, slug, version],
        )

    def forget(self, shop_id: int, slug: str, version: int) -> None:
        self.reading.execute(
            """DELETE FROM pending_invalidations WHERE ctid IN (
                   SELECT ctid FROM pending_invalidations WHERE (shop_id, slug) = (%s, %s) AND version <= %s
                   FOR UPDATE SKIP LOCKED)""",
            [shop_id, slug, version],
        )

    def find_pending(self) -> frozenset[tuple[int, str]]:
        return frozenset(self.reading.execute("SELECT shop_id, slug FROM pending_invalidations").fetchall())

    def find_versions(self) -> list[int]:
        return [version for (version,) in self.reading.execute("SELECT version FROM pending_invalidations")]

    def close(self) -> None:
        self.writing.close()
        self.reading.execute("DROP TABLE coherence")
        self.reading.close()
        for server in self.servers:
            self.run(server.close())
        self.runner.close()
