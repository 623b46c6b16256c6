"""Wakes those who wait for a bulk operation of Shopify, in any process: a webhook says that it has ended."""

import asyncio
import time
from typing import Final

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.errors import CacheUnavailable

_SLICE_SECONDS: Final = 1.0
"""How long one command waits: less than the timeout of a job's connection."""


class BulkSignals:
    """The signals of all shops."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def send(self, operation_id: str) -> None:
        """Wake who waits for the operation, or will wait within `keys.SIGNAL_TTL_SECONDS`.

        Raises:
            CacheUnavailable: Redis does not answer; those who wait ask Shopify later by themselves.
        """
        key = keys.bulk_key(operation_id)
        with self._server.guard():
            async with self._server.redis.pipeline(transaction=True) as pipe:
                pipe.rpush(key, 1)
                pipe.expire(key, keys.SIGNAL_TTL_SECONDS)
                await pipe.execute()

    async def wait(self, operation_id: str, seconds: float) -> None:
        """Return once the operation was signalled, after `seconds` at the latest."""
        until = time.monotonic() + seconds
        try:
            while (left := until - time.monotonic()) > 0:
                with self._server.guard():
                    if await self._server.redis.blpop([keys.bulk_key(operation_id)], min(left, _SLICE_SECONDS)):
                        return
        except CacheUnavailable:
            await asyncio.sleep(max(0.0, until - time.monotonic()))
