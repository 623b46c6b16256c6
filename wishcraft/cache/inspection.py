"""What kinds of keys Redis holds, and for how long yet: estimated from a sample, as a full count would take long."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, cast

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.domain.batches import batches

SAMPLE_KEYS: Final = 5_000
_KEYS_PER_CALL: Final = 250
"""Redis and this process do nothing else during a call: a few thousandths of a second."""


@dataclass(frozen=True, slots=True)
class KeyStatistics:
    """Of each kind of key: about how many there are, and seconds to live: the least, the median and the most."""

    counts: Mapping[str, float]
    seconds: Mapping[str, tuple[float, float, float]]


async def sample_keys(server: Server, most: int = SAMPLE_KEYS) -> KeyStatistics:
    """Look at about `most` keys, which is a fair sample: SCAN goes by the keys' hashes.

    Raises:
        CacheUnavailable: Redis is away.
    """
    with server.answering():
        total = int(await server.redis.dbsize())
        cursor, sample = await _scan(server, 0)
        while cursor and len(sample) < most:
            cursor, found = await _scan(server, cursor)
            sample += found
        lives = [life for batch in batches(sample, _KEYS_PER_CALL) for life in await _lives(server, batch)]
    scale = total / len(sample) if cursor else 1.0
    counts = Counter(map(keys.kind_of, sample))
    by_kind = defaultdict[str, list[float]](list)
    for key, life in zip(sample, lives, strict=True):
        if life >= 0:  # the others never expire, or have just done so
            by_kind[keys.kind_of(key)].append(life / 1000)
    return KeyStatistics(
        {kind: scale * count for kind, count in counts.items()},
        {kind: (min(found), median(found), max(found)) for kind, found in by_kind.items()},
    )


async def _scan(server: Server, cursor: int) -> tuple[int, list[bytes]]:
    following, found = await server.redis.scan(cursor, count=_KEYS_PER_CALL)
    return int(following), cast("list[bytes]", found)


async def _lives(server: Server, sample: Sequence[bytes]) -> list[int]:
    """Milliseconds to live, negative for a key that has no end or is gone."""
    async with server.redis.pipeline(transaction=False) as pipe:
        for key in sample:
            pipe.pttl(key)
        return await pipe.execute()


async def sample_slugs(server: Server, shop_id: int, size: int) -> list[str]:
    """The slugs of up to `size` of the shop's entries, picked at random; some of these may have expired.

    Raises:
        CacheUnavailable: Redis is away.
    """
    with server.answering():
        picked = await server.redis.zrandmember(keys.index_key(shop_id), size)
    return [slug.decode() for slug in cast("list[bytes]", picked)]  # responses are not decoded
