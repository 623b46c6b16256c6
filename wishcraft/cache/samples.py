"""A look at some of a shop's entries, for those who check them."""

from typing import cast

from wishcraft.cache import keys
from wishcraft.cache.client import Server


async def sample_slugs(server: Server, shop_id: int, size: int) -> list[str]:
    """The slugs of up to `size` of the shop's entries, picked at random; some of these may have expired.

    Raises:
        CacheUnavailable: Redis is away.
    """
    with server.answering():
        picked = await server.redis.zrandmember(keys.index_key(shop_id), size)
    return [slug.decode() for slug in cast("list[bytes]", picked)]  # responses are not decoded
