"""Cache of guests' sessions, whose rows are in PostgreSQL. A miss says nothing: the caller queries PostgreSQL.

A session is put here after its row was committed; one that is missing here costs a query.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, cast

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.cache.keys import SessionName
from wishcraft.errors import CacheUnavailable

_KEYS_PER_SCAN: Final = 1000
"""Some hundred microseconds, during which Redis answers no other client."""


class SessionCache:
    """The cached sessions of all shops. Every method raises CacheUnavailable when Redis does not answer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._redis = server.redis

    async def put(self, name: SessionName, slug: str, expires_at: datetime) -> None:
        """Store the slug that the session opens, until `expires_at`."""
        with self._server.guard():
            await self._redis.set(keys.session_key(name), slug, pxat=expires_at)

    async def get(self, name: SessionName) -> str | None:
        """The slug that the session opens, or None on a miss."""
        with self._server.guard():
            slug = cast("bytes | None", await self._redis.get(keys.session_key(name)))  # responses are not decoded
        return None if slug is None else slug.decode()

    async def delete(self, names: Sequence[SessionName]) -> int:
        """Delete these sessions; returns how many there were."""
        with self._server.guard():
            return int(await self._redis.unlink(*map(keys.session_key, names))) if names else 0

    async def try_delete(self, names: Sequence[SessionName]) -> None:
        """Delete these sessions if Redis answers; if not, the cleanup job deletes them."""
        with suppress(CacheUnavailable):
            await self.delete(names)

    async def batches(self, size: int) -> AsyncIterator[list[SessionName]]:
        """All sessions, `size` at a time. As with SCAN, one put meanwhile may be missing, and one may come twice."""
        names: list[SessionName] = []
        cursor = -1
        while cursor:
            with self._server.guard():
                cursor, page = await self._redis.scan(max(cursor, 0), match=keys.SESSIONS, count=_KEYS_PER_SCAN)
            names += filter(None, map(keys.session_name, cast("list[bytes]", page)))
            while len(names) >= size or (names and not cursor):
                yield names[:size]
                names = names[size:]
