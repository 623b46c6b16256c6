"""Deletes all that Redis has of a shop."""

from typing import Final

from wishcraft.cache import keys
from wishcraft.cache.client import Server

_KEYS_PER_SCAN: Final = 1000


async def forget_shop(server: Server, shop_id: int) -> None:
    """Delete all keys of a shop whose registries were deleted before, and to which no request is served any more.

    Raises:
        CacheUnavailable: Redis does not answer.
    """
    cursor = -1
    while cursor:
        with server.guard():
            cursor, found = await server.redis.scan(
                max(cursor, 0), match=keys.shop_pattern(shop_id), count=_KEYS_PER_SCAN
            )
            if found:
                await server.redis.unlink(*found)
