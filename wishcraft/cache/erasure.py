"""Deletes what Redis has of a person or a shop, besides the entries of registries, which are forgotten one by one."""

from collections.abc import Iterable
from typing import Final

from wishcraft.cache import keys
from wishcraft.cache.client import Server

_KEYS_PER_SCAN: Final = 1000


async def delete_request_counters(server: Server, shop_id: int, customers: Iterable[int]) -> None:
    """Delete the counters of these customers' requests.

    Raises:
        CacheUnavailable: Redis does not answer; the counters expire within minutes.
    """
    for customer_id in customers:
        await _delete(server, keys.customer_pattern(shop_id, customer_id))


async def delete_shop_keys(server: Server, shop_id: int) -> None:
    """Delete all keys of a shop whose registries were deleted before, and to which no request is served any more.

    Raises:
        CacheUnavailable: Redis does not answer.
    """
    for pattern in keys.shop_patterns(shop_id):
        await _delete(server, pattern)


async def _delete(server: Server, pattern: str) -> None:
    cursor = -1
    while cursor:
        with server.guard():
            cursor, found = await server.redis.scan(max(cursor, 0), match=pattern, count=_KEYS_PER_SCAN)
            if found:
                await server.redis.unlink(*found)
