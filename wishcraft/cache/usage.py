"""Cache usage by shop, summed up in Redis over all processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from wishcraft.cache import keys, scripts
from wishcraft.cache.client import Server
from wishcraft.cache.lua import Call
from wishcraft.domain.batches import batches
from wishcraft.domain.cached_registry import view_weight

_SHOPS_PER_CALL: Final = 200
"""The event loop is blocked while it parses the reply to a call."""


@dataclass(slots=True)
class ReadCounts:
    """A shop's reads of registries by result, and the bytes of the bodies sent."""

    hits: int = 0
    stale: int = 0
    misses: int = 0
    bypassed: int = 0
    bytes_sent: int = 0

    def add(self, other: "ReadCounts") -> None:
        """Add the other's counts to these."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(frozen=True, slots=True)
class Usage:
    """A shop's reads and evictions since its counters began, and the size of its entries and facts now.

    An entry that expired or that Redis evicted stays counted in `entries` and `bytes_held` until the quota is reached;
    facts of variants that expired stay counted in `products` until others are stored.
    """

    hits: int
    stale: int
    misses: int
    bypassed: int
    bytes_sent: int
    evictions: int
    entries: int
    """Registries."""
    products: int
    """Variants."""
    bytes_held: int
    """Of registries and variants together."""


class UsageCounters:
    """The usage counters on one server. Every method raises CacheUnavailable when Redis does not answer."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._redis = server.redis

    async def add(self, reads: Mapping[int, ReadCounts], views: Mapping[int, Mapping[str, int]]) -> None:
        """Add the counts of one process: reads by shop, and views by shop and slug."""
        score = view_weight(datetime.now(UTC))
        calls: list[Call] = [
            {"index": keys.of_shop(shop_id).index, "slug": slug, "score": count * score}
            for shop_id, views_by_slug in views.items()
            for slug, count in views_by_slug.items()
        ]
        await self._server.run(scripts.VIEW, calls)  # first: reads whose counts Redis has not taken are added again
        counted: list[Call] = [
            {
                "usage": keys.of_shop(shop_id).usage,
                "hits": counts.hits,
                "stale": counts.stale,
                "misses": counts.misses,
                "bypassed": counts.bypassed,
                "bytes_sent": counts.bytes_sent,
                "ttl_seconds": keys.USAGE_TTL_SECONDS,
            }
            for shop_id, counts in reads.items()
        ]
        await self._server.run(scripts.ADD_READS, counted)

    async def read(self, shop_ids: Sequence[int]) -> dict[int, Usage]:
        """The usage of each shop."""
        replies: list[Any] = []
        with self._server.guard():
            for batch in batches(shop_ids, _SHOPS_PER_CALL):
                async with self._redis.pipeline(transaction=False) as pipe:
                    for shop_id in batch:
                        shop = keys.of_shop(shop_id)
                        pipe.hgetall(shop.usage)
                        for index, sizes in ((shop.index, shop.sizes), (shop.variant_index, shop.variant_sizes)):
                            pipe.zcard(index)
                            pipe.hget(sizes, "")
                    replies += await pipe.execute()
        return {
            shop_id: Usage(
                **{name: int(counters.get(name.encode(), 0)) for name in _COUNTED},
                entries=entries,
                products=products,
                bytes_held=int(held or 0) + int(held_by_products or 0),
            )
            for shop_id, (counters, entries, held, products, held_by_products) in zip(
                shop_ids, batches(replies, 5), strict=True
            )
        }


_COUNTED: Final = (*(each.name for each in fields(ReadCounts)), "evictions")
