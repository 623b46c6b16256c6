"""Sessions in Redis: a quick yes for those that PostgreSQL has; what is not here has to be asked for there.

So a session is put here after its row has been committed, and one that is dropped by mistake costs a query.
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
"""Some hundred microseconds of the server's time, in which it serves nobody else."""


class SessionCache:
    """The sessions of all shops on one server. Every method raises CacheUnavailable when Redis does not answer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._redis = server.redis

    async def put(self, name: SessionName, subject: str, expires_at: datetime) -> None:
        """Keep what the session grants, until it expires."""
        with self._server.answering():
            await self._redis.set(keys.session_key(name), subject, pxat=expires_at)

    async def get(self, name: SessionName) -> str | None:
        """What the session grants; None if Redis does not have it."""
        with self._server.answering():
            subject = cast("bytes | None", await self._redis.get(keys.session_key(name)))  # responses are not decoded
        return None if subject is None else subject.decode()

    async def drop(self, names: Sequence[SessionName]) -> int:
        """Forget these sessions; how many there were."""
        with self._server.answering():
            return int(await self._redis.unlink(*map(keys.session_key, names))) if names else 0

    async def drop_quietly(self, names: Sequence[SessionName]) -> None:
        """Forget these sessions if Redis answers; if not, the job that cleans up does."""
        with suppress(CacheUnavailable):
            await self.drop(names)

    async def each_batch(self, size: int) -> AsyncIterator[list[SessionName]]:
        """All sessions, `size` at a time; one that is put meanwhile may be missing, one may come twice."""
        names: list[SessionName] = []
        cursor = -1
        while cursor:
            with self._server.answering():
                cursor, found = await self._redis.scan(max(cursor, 0), match=keys.SESSIONS, count=_KEYS_PER_SCAN)
            names += filter(None, map(keys.session_name, cast("list[bytes]", found)))
            while len(names) >= size or (names and not cursor):
                yield names[:size]
                names = names[size:]
