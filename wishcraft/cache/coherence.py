"""The commands of the coherence protocol, each for one shop.

They are get, headers, invalidate, is_quiet, forget, lease, fill, trim and release.

Every method raises CacheUnavailable when Redis does not answer. The order of the commands is the caller's: readers
follow `registries.RegistryCache`, writers the write primitive.
"""

import asyncio
import secrets
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple

from wishcraft.cache import entries, keys, scripts
from wishcraft.cache.client import Server
from wishcraft.cache.counters import Counters
from wishcraft.cache.entries import Entry, Header
from wishcraft.cache.lua import Call
from wishcraft.cache.scripts import FillOutcome
from wishcraft.domain.cached_registry import UNCOUNTED, AccessLevel, Quota, view_weight
from wishcraft.errors import CacheUnavailable

_REFUSALS: Final = {
    scripts.CHANGED: FillOutcome.CHANGED,
    scripts.LEASED: FillOutcome.LEASED,
    scripts.ON_HOLD: FillOutcome.ON_HOLD,
    scripts.OTHER_ERA: FillOutcome.ON_HOLD,
}
"""Why there is no lease, by the reply."""
_LIFETIME_HOURS: Final = (1, 3, 6, 12)
"""The classes of `cache_lifetimes_total`."""

EVICTIONS_PER_CALL: Final = 200
"""So that a call takes Redis a few milliseconds at most."""


class Lease(NamedTuple):
    """The right to fill one entry, valid for `keys.LEASE_TTL_MS` within the era in which it was given."""

    token: bytes
    era: bytes


class CoherenceCommands:
    """The commands on one server, for all shops."""

    def __init__(
        self, server: Server, *, hold_seconds: float = keys.HOLD_SECONDS, counters: Counters | None = None
    ) -> None:
        """Commands on `server`.

        Args:
            server: Redis.
            hold_seconds: May be below its default only where no transaction is open when Redis restarts.
            counters: Counts the fills, and the lifetimes of what they stored, if given.
        """
        self._server = server
        self._hold_seconds = hold_seconds
        self._counters = counters

    async def get(self, shop_id: int, slug: str) -> Entry | None:
        """The entry if there is a valid one, fresh or stale; one of another era or format is none."""
        raw = await self._server.batched_reader.get(keys.entry_key(shop_id, slug))
        entry = entries.unpack(raw) if raw else None
        return entry if entry and entry.header.era == self._server.era else None

    async def headers(self, shop_id: int, slugs: Iterable[str]) -> dict[str, Header]:
        """The headers of the slugs that have a valid entry; no body is transferred."""
        slugs = list(slugs)
        prefix, last_byte = keys.of_shop(shop_id).entry_prefix, entries.HEADER_SIZE - 1
        calls: list[Call] = [{"entry": prefix + slug, "last_byte": last_byte} for slug in slugs]
        replies = await self._server.run(scripts.HEADER, calls)
        headers = {slug: entries.unpack_header(raw) for slug, raw in zip(slugs, replies, strict=True)}
        return {slug: header for slug, header in headers.items() if header and header.era == self._server.era}

    async def invalidate(self, shop_id: int, versions: Mapping[str, int]) -> None:
        """Delete the entries of these slugs, and refuse fills below the given versions from now on.

        A writer calls it after it raised the versions and before it commits, in one transaction of at most
        `keys.WRITE_LIMIT_SECONDS`. If it raises, the writer must either not commit, or announce a pending
        invalidation before (see `read_permit`). A deleted registry is invalidated like a changed one, and forgotten
        after the commit.
        """
        shop = keys.of_shop(shop_id)
        calls: list[Call] = [
            {
                "entry": shop.entry_prefix + slug,
                "lease": shop.lease_prefix + slug,
                "floors": shop.floors,
                "written": shop.written,
                "slug": slug,
                "version": version,
                "ttl_ms": keys.FLOOR_TTL_MS,
                "written_ttl_ms": keys.WRITTEN_TTL_MS,
            }
            for slug, version in versions.items()
        ]
        await self._server.run(scripts.INVALIDATE, calls)

    async def is_quiet(self, shop_id: int) -> bool:
        """Whether it is known that no registry of the shop was invalidated within `keys.WRITTEN_TTL_MS`.

        That is not known of a young era: Redis may have lost what it knew of the older one.
        """
        call: Call = {
            "written": keys.of_shop(shop_id).written,
            "era": keys.ERA,
            "known_era": self._server.era,
            "hold_ms": int(self._hold_seconds / keys.HOLD_SECONDS * keys.WRITTEN_TTL_MS),
        }
        [reply] = await self._server.run(scripts.QUIET, [call])
        if reply == scripts.OTHER_ERA:
            await self._server.learn_era()
        return reply == scripts.IS_QUIET

    async def forget(self, shop_id: int, slugs: Iterable[str]) -> None:
        """Delete all that Redis has of these registries. Their deletion must be committed, and was invalidated before.

        Raises:
            CacheUnavailable: Some may have been forgotten.
        """
        shop = keys.of_shop(shop_id)
        calls: list[Call] = [
            {
                "entry": shop.entry_prefix + slug,
                "lease": shop.lease_prefix + slug,
                "floors": shop.floors,
                "index": shop.index,
                "sizes": shop.sizes,
                "slug": slug,
            }
            for slug in slugs
        ]
        await self._server.run(scripts.FORGET, calls)

    async def lease(
        self, shop_id: int, slugs: Iterable[str], *, seen: bytes = scripts.ANYTHING
    ) -> dict[str, Lease | FillOutcome]:
        """A lease for each slug, or why there is none: CHANGED, LEASED or ON_HOLD. Take it before the load begins.

        `seen` is the header of the entry that the caller has read, empty for none. CHANGED if it is another one now.
        """
        shop, hold_ms = keys.of_shop(shop_id), int(self._hold_seconds * 1000)
        tokens = {slug: secrets.token_bytes(8) for slug in slugs}
        replies: list[bytes] = []
        for _ in range(2):
            era = self._server.era
            calls: list[Call] = [
                {
                    "entry": shop.entry_prefix + slug,
                    "lease": shop.lease_prefix + slug,
                    "era": keys.ERA,
                    "token": token,
                    "ttl_ms": keys.LEASE_TTL_MS,
                    "known_era": era,
                    "hold_ms": hold_ms,
                    "seen": seen,
                }
                for slug, token in tokens.items()
            ]
            try:
                replies = await self._server.run(scripts.LEASE, calls)
            except asyncio.CancelledError:  # the command is under way: what it grants is given back
                with suppress(CacheUnavailable):
                    await self.release(shop_id, {slug: Lease(token, era) for slug, token in tokens.items()})
                raise
            if scripts.OTHER_ERA not in replies:
                break
            await self._server.learn_era()  # this process has run no command yet, or the data was flushed
        return {
            slug: _REFUSALS.get(reply) or Lease(token, era)
            for (slug, token), reply in zip(tokens.items(), replies, strict=True)
        }

    async def fill(
        self, shop_id: int, loaded: Mapping[str, tuple[Lease, Entry]], quota: Quota = UNCOUNTED
    ) -> dict[str, FillOutcome]:
        """Store what was loaded under each lease, unless it is outdated; the leases end either way.

        A shop over its quota loses its least viewed entries, which may include one of these. A negative entry does not
        count towards the quota.
        """
        shop, one_view = keys.of_shop(shop_id), view_weight(datetime.now(UTC))
        calls: list[Call] = []
        for slug, (lease, entry) in loaded.items():
            is_absent = entry.header.access_level is AccessLevel.ABSENT
            hard_ttl_ms = max(keys.HARD_TTL_MS, keys.KEPT_TIMES * (entry.header.soft_expiry_ms - now_ms()))
            max_entries, max_bytes = UNCOUNTED if is_absent else quota
            calls.append(
                {
                    "entry": shop.entry_prefix + slug,
                    "lease": shop.lease_prefix + slug,
                    "floors": shop.floors,
                    "index": shop.index,
                    "sizes": shop.sizes,
                    "usage": shop.usage,
                    "variant_index": shop.variant_index,
                    "variant_sizes": shop.variant_sizes,
                    "token": lease.token,
                    "slug": slug,
                    "packed": entries.pack(entry),
                    "ttl_ms": keys.ABSENT_TTL_MS if is_absent else keys.spread(hard_ttl_ms),
                    "one_view": one_view,
                    "max_entries": max_entries,
                    "max_bytes": max_bytes,
                    "entry_prefix": shop.entry_prefix,
                    "variant_prefix": shop.variant_prefix,
                    "index_ttl_ms": keys.INDEX_TTL_MS,
                    "usage_ttl_seconds": keys.USAGE_TTL_SECONDS,
                }
            )
        outcomes = [FillOutcome(reply.decode()) for reply in await self._server.run(scripts.FILL, calls)]
        if self._counters:
            for outcome, (_, entry) in zip(outcomes, loaded.values(), strict=True):
                is_stored = outcome is FillOutcome.FILLED
                self._counters.count("cache_fills_total", outcome="stored" if is_stored else "refused")
                if is_stored and entry.header.access_level is not AccessLevel.ABSENT:
                    hours = (entry.header.soft_expiry_ms - now_ms()) / 3_600_000
                    rounded = _LIFETIME_HOURS[bisect_left(_LIFETIME_HOURS[:-1], hours)]
                    self._counters.count("cache_lifetimes_total", hours=str(rounded))
        return dict(zip(loaded, outcomes, strict=True))

    async def trim(self, shop_id: int, quota: Quota) -> int:
        """Evict the shop's facts and its least viewed entries until it is within the quota; how many of both."""
        shop, evicted = keys.of_shop(shop_id), 0
        call: Call = {
            "index": shop.index,
            "sizes": shop.sizes,
            "usage": shop.usage,
            "variant_index": shop.variant_index,
            "variant_sizes": shop.variant_sizes,
            "max_entries": quota.entries,
            "max_bytes": quota.bytes,
            "entry_prefix": shop.entry_prefix,
            "variant_prefix": shop.variant_prefix,
            "usage_ttl_seconds": keys.USAGE_TTL_SECONDS,
            "most": EVICTIONS_PER_CALL,
        }
        while True:
            [step] = map(int, await self._server.run(scripts.TRIM, [call]))
            evicted += step
            if step < EVICTIONS_PER_CALL:
                return evicted

    async def release(self, shop_id: int, leases: Mapping[str, Lease]) -> None:
        """End leases without a fill."""
        prefix = keys.of_shop(shop_id).lease_prefix
        calls: list[Call] = [{"lease": prefix + slug, "token": lease.token} for slug, lease in leases.items()]
        await self._server.run(scripts.RELEASE, calls)


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
