"""Statistics of the keys in Redis, estimated from a sample because a full count takes long; and samples of slugs."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple, cast

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.domain.batches import batches

SAMPLE_SIZE: Final = 5_000
_KEYS_PER_CALL: Final = 250
"""Redis and this process do nothing else during a call, which takes a few milliseconds."""


class TtlRange(NamedTuple):
    """The least, the median and the greatest time to live, in seconds."""

    least: float
    median: float
    greatest: float


@dataclass(frozen=True, slots=True)
class KeyStatistics:
    """By kind of key (`keys.KINDS`): the estimated number of keys, and the times to live of those that expire."""

    counts: Mapping[str, float]
    ttls: Mapping[str, TtlRange]


async def estimate_key_statistics(server: Server, sample_size: int = SAMPLE_SIZE) -> KeyStatistics:
    """The statistics of about `sample_size` keys, scaled up. The sample is fair: SCAN goes by the keys' hashes.

    Raises:
        CacheUnavailable: Redis does not answer.
    """
    with server.guard():
        total = int(await server.redis.dbsize())
        sample, is_complete = await _sample_keys(server, sample_size)
        ttls_ms = [ttl for batch in batches(sample, _KEYS_PER_CALL) for ttl in await _read_ttls_ms(server, batch)]
    scale = 1.0 if is_complete else total / len(sample)
    counts = Counter(map(keys.kind_of, sample))
    seconds_by_kind = defaultdict[str, list[float]](list)
    for key, ttl_ms in zip(sample, ttls_ms, strict=True):
        if ttl_ms >= 0:  # negative: the key never expires, or has just expired
            seconds_by_kind[keys.kind_of(key)].append(ttl_ms / 1000)
    return KeyStatistics(
        counts={kind: scale * count for kind, count in counts.items()},
        ttls={kind: TtlRange(min(some), median(some), max(some)) for kind, some in seconds_by_kind.items()},
    )


async def sample_slugs(server: Server, shop_id: int, size: int) -> list[str]:
    """The slugs of up to `size` of the shop's entries, picked at random. Some of the entries may have expired.

    Raises:
        CacheUnavailable: Redis does not answer.
    """
    with server.guard():
        members = await server.redis.zrandmember(keys.of_shop(shop_id).index, size)
    return [slug.decode() for slug in cast("list[bytes]", members)]  # responses are not decoded


async def _sample_keys(server: Server, size: int) -> tuple[list[bytes], bool]:
    """At least `size` keys, and whether these are all."""
    sample: list[bytes] = []
    cursor = -1
    while cursor and len(sample) < size:
        following, page = await server.redis.scan(max(cursor, 0), count=_KEYS_PER_CALL)
        cursor = int(following)
        sample += cast("list[bytes]", page)
    return sample, not cursor


async def _read_ttls_ms(server: Server, some_keys: Sequence[bytes]) -> list[int]:
    """Milliseconds to live of each key, negative for a key that never expires or is gone."""
    async with server.redis.pipeline(transaction=False) as pipe:
        for key in some_keys:
            pipe.pttl(key)
        return await pipe.execute()
