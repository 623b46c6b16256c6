"""How much each shop uses the cache, summed up over all processes in Redis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from wishcraft.cache import keys, scripts
from wishcraft.cache.client import Server
from wishcraft.domain.batches import batches
from wishcraft.domain.view_score import weight

_VIEWS_PER_CALL: Final = 200
"""Redis serves nobody else during a call."""
_SHOPS_PER_CALL: Final = 200
"""This process serves nobody while it reads the answer to a call."""


@dataclass(slots=True)
class ReadCounts:
    """How a shop's reads of registries were answered, and the bytes of the bodies that were sent."""

    hits: int = 0
    stale: int = 0
    misses: int = 0
    bypassed: int = 0
    bytes_sent: int = 0

    def add(self, other: "ReadCounts") -> None:
        """Count the other's reads too."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True, slots=True)
class Usage:
    """A shop's reads and evictions since its counters began, and what its entries take now.

    An entry that Redis has dropped is counted in `entries` and `bytes_held` until its place is needed.
    """

    hits: int
    stale: int
    misses: int
    bypassed: int
    bytes_sent: int
    evictions: int
    entries: int
    bytes_held: int


class UsageCounters:
    """The counters on one server; every method raises CacheUnavailable when Redis does not answer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._redis = server.redis
        self._view = self._redis.register_script(scripts.many(scripts.VIEW))

    async def add(self, reads: Mapping[int, ReadCounts], views: Mapping[int, Mapping[str, int]]) -> None:
        """Add what a process has counted: reads by shop, and views by shop and slug."""
        worth = weight(datetime.now(UTC))
        with self._server.answering():
            async with self._redis.pipeline(transaction=False) as pipe:
                for shop_id, counted in reads.items():
                    key = keys.usage_key(shop_id)
                    for each in fields(counted):
                        if by := getattr(counted, each.name):
                            pipe.hincrby(key, each.name, by)
                    pipe.expire(key, keys.USAGE_TTL_SECONDS)
                for shop_id, of_shop in views.items():
                    index = keys.index_key(shop_id)
                    for batch in batches(list(of_shop.items()), _VIEWS_PER_CALL):
                        arguments = [value for slug, count in batch for value in (slug, count * worth)]
                        await self._view([index] * len(batch), [len(batch), *arguments], client=pipe)
                await pipe.execute()

    async def read(self, shop_ids: Sequence[int]) -> dict[int, Usage]:
        """Each shop's usage."""
        replies: list[Any] = []
        with self._server.answering():
            for batch in batches(shop_ids, _SHOPS_PER_CALL):
                async with self._redis.pipeline(transaction=False) as pipe:
                    for shop_id in batch:
                        pipe.hgetall(keys.usage_key(shop_id))
                        pipe.zcard(keys.index_key(shop_id))
                        pipe.hget(keys.sizes_key(shop_id), "")
                    replies += await pipe.execute()
        return {
            shop_id: Usage(
                **{name: int(counters.get(name.encode(), 0)) for name in _COUNTED},
                entries=entries,
                bytes_held=int(held or 0),
            )
            for shop_id, (counters, entries, held) in zip(shop_ids, batches(replies, 3), strict=True)
        }


_COUNTED: Final = (*(each.name for each in fields(ReadCounts)), "evictions")
