"""The registry cache: read-through with stale-while-revalidate for requests, refill for jobs and after commits.

A `load` callback reads the PostgreSQL primary and sees the last commit; version and body come from one snapshot.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final, NamedTuple

from wishcraft.cache import entries, keys
from wishcraft.cache.client import Server
from wishcraft.cache.coherence import CoherenceCommands, Lease, now_ms
from wishcraft.cache.counters import Counters
from wishcraft.cache.entries import Entry, make_entry
from wishcraft.cache.read_permit import ReadPermit, Trust
from wishcraft.cache.scripts import FillOutcome
from wishcraft.domain.cached_registry import UNCOUNTED, CachedRegistry
from wishcraft.errors import CacheUnavailable

WAIT_FOR_FILL_SECONDS: Final = 0.5
"""How long a reader without a lease waits for the lease holder's fill before it loads for itself."""
REVALIDATE_SECONDS: Final = 1.0
"""How long a reader with a lease and a stale entry waits for its load before it answers the stale entry."""
_POLL_SECONDS: Final = 0.005
_NO_ERA: Final = bytes(8)

_log = logging.getLogger(__name__)

Load = Callable[[], Awaitable[CachedRegistry | None]]
LoadMany = Callable[[Sequence[str]], Awaitable[Mapping[str, CachedRegistry]]]


class CacheState(StrEnum):
    """State of a read, as `X-Cache` says it."""

    __hash__ = str.__hash__  # Enum's is written in Python, and each read looks several things up by its state

    HIT = "hit"
    STALE = "stale"
    """From Redis, past its soft expiry, or while PostgreSQL does not answer: the last known state."""
    MISS = "miss"
    """From PostgreSQL, and filled unless the floor or the lease refused it."""
    BYPASS = "bypass"
    """From PostgreSQL, without a fill: Redis is unavailable or on hold, its entry may be outdated, or the lease holder
    is slow."""


class CacheResult(NamedTuple):
    """The entry that a read found or made, which may be a negative one (the registry does not exist)."""

    entry: Entry
    state: CacheState


class RefillResult(NamedTuple):
    """Result of the refill of one slug."""

    outcome: FillOutcome
    entry: Entry | None = None
    """The loaded registry; None if another reader holds the lease, or the server gives none."""


class RegistryCache(CoherenceCommands):
    """The registry cache of all shops on one server.

    No reader gets an older version than a reader before it, unless the result says that it is stale.
    """

    permit: ReadPermit | None = None
    """Without one, as in jobs, entries are used although an invalidation may be pending."""

    def __init__(
        self,
        server: Server,
        *,
        hold_seconds: float = keys.HOLD_SECONDS,
        counters: Counters | None = None,
        wait_for_fill_seconds: float = WAIT_FOR_FILL_SECONDS,
        revalidate_seconds: float = REVALIDATE_SECONDS,
    ) -> None:
        """A cache on `server`; see `CoherenceCommands`."""
        super().__init__(server, hold_seconds=hold_seconds, counters=counters)
        self.wait_for_fill_seconds = wait_for_fill_seconds
        self.revalidate_seconds = revalidate_seconds
        self._turns: dict[tuple[int, str], asyncio.Future[bool]] = {}
        """Registries that a reader of this process loads. True: look in Redis again. False: no fill is possible now."""

    async def ready_to_fill(self) -> None:
        """Wait for the end of the hold: `hold_seconds` from the beginning of the era.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        age = await self._server.learn_era()
        await asyncio.sleep(max(0, self._hold_seconds - age))

    async def read(self, shop_id: int, slug: str, load: Load, *, was_missing: bool = False) -> CacheResult:
        """One registry, from Redis if possible.

        One reader of this process takes its turn to load an entry that is missing or stale. The others wait for it, or
        answer the stale entry. `was_missing` says that the caller has just found no entry: Redis need not be asked a
        second time.

        Raises only what `load` raises, and only if Redis has no entry, fresh or stale.
        """
        trust = self.permit.trust(shop_id, slug) if self.permit else Trust.CURRENT
        if self.permit and trust is Trust.EXPIRED:
            trust = await self.permit.wait_for_trust(shop_id, slug)
        deadline = time.monotonic() + self.wait_for_fill_seconds
        with suppress(CacheUnavailable):
            if trust is Trust.SILENT and (entry := await self.get(shop_id, slug)):
                return CacheResult(entry, CacheState.STALE)
            while trust is Trust.CURRENT:
                entry = None if was_missing else await self.get(shop_id, slug)
                was_missing = False
                if entry and entry.header.soft_expiry_ms > now_ms():
                    return CacheResult(entry, CacheState.HIT)
                turn = self._turns.get((shop_id, slug))
                if turn is None:
                    return await self._take_turn(shop_id, slug, entry, load)
                if entry:
                    return CacheResult(entry, CacheState.STALE)
                await asyncio.wait([turn], timeout=deadline - time.monotonic())
                if not turn.done() or not turn.result():
                    break
        return await self._bypass(load)

    async def refill(self, shop_id: int, load_many: LoadMany, slugs: Iterable[str]) -> dict[str, RefillResult]:
        """Load these slugs at once and fill them, except those whose lease another reader holds.

        Returns:
            The result of each slug.

        Raises:
            CacheUnavailable: Redis does not answer; some entries may have been filled.
        """
        replies = await self.lease(shop_id, slugs)
        leases = {slug: lease for slug, lease in replies.items() if isinstance(lease, Lease)}
        results = {slug: RefillResult(reply) for slug, reply in replies.items() if isinstance(reply, FillOutcome)}
        try:
            registries = await load_many(list(leases)) if leases else {}
        except BaseException:
            await self._try_release(shop_id, leases)
            raise
        loaded = {
            slug: (lease, make_entry(registries.get(slug), lease.era, now_ms())) for slug, lease in leases.items()
        }
        quota = next((registry.quota for registry in registries.values()), UNCOUNTED)  # the shop's: all carry it
        filled = await self.fill(shop_id, loaded, quota)
        return results | {
            slug: RefillResult(outcome if slug in registries else FillOutcome.NOT_FOUND, loaded[slug][1])
            for slug, outcome in filled.items()
        }

    async def _take_turn(self, shop_id: int, slug: str, entry: Entry | None, load: Load) -> CacheResult:
        turn = self._turns[shop_id, slug] = asyncio.get_running_loop().create_future()
        try:
            lease: Lease | FillOutcome = FillOutcome.ON_HOLD  # also if Redis does not answer
            with suppress(CacheUnavailable):
                seen = entries.pack(entry._replace(body=b"")) if entry else b""  # its header
                lease = (await self.lease(shop_id, [slug], seen=seen))[slug]
                if lease is FillOutcome.CHANGED:
                    entry = await self.get(shop_id, slug) or entry
                    if entry and entry.header.soft_expiry_ms > now_ms():
                        return CacheResult(entry, CacheState.HIT)
                    lease = (await self.lease(shop_id, [slug]))[slug]
            if lease is FillOutcome.ON_HOLD:
                turn.set_result(False)
            if isinstance(lease, Lease):
                try:
                    if entry:
                        return await self._revalidate(shop_id, slug, entry, lease, load)
                    return await self._fill_one(shop_id, slug, lease, await load())
                except BaseException:
                    await self._try_release(shop_id, {slug: lease})
                    raise
            if entry:
                return CacheResult(entry, CacheState.STALE)
            if lease is FillOutcome.LEASED and (entry := await self._wait_for_fill(shop_id, slug)):
                return CacheResult(entry, CacheState.HIT)
            return await self._bypass(load)
        finally:
            del self._turns[shop_id, slug]
            if not turn.done():
                turn.set_result(True)

    async def _bypass(self, load: Load) -> CacheResult:
        return CacheResult(make_entry(await load(), _NO_ERA, now_ms()), CacheState.BYPASS)

    async def _revalidate(self, shop_id: int, slug: str, entry: Entry, lease: Lease, load: Load) -> CacheResult:
        """A fresh entry if the load succeeds, else the stale one.

        After a failed load the lease stays until it expires, so that not every reader queries a failing PostgreSQL.
        """
        try:
            async with asyncio.timeout(self.revalidate_seconds):
                registry = await load()
            result = await self._fill_one(shop_id, slug, lease, registry)
        except Exception:  # noqa: BLE001  any failure of the load is logged, and the stale entry answers
            _log.exception("A stale registry could not be loaded from PostgreSQL; guests still get the stale entry")
            return CacheResult(entry, CacheState.STALE)
        if self._counters:
            is_same = (result.entry.header.version, result.entry.body) == (entry.header.version, entry.body)
            self._counters.count("cache_revalidations_total", result="unchanged" if is_same else "changed")
        return result

    async def _fill_one(self, shop_id: int, slug: str, lease: Lease, registry: CachedRegistry | None) -> CacheResult:
        entry = make_entry(registry, lease.era, now_ms())
        with suppress(CacheUnavailable):
            await self.fill(shop_id, {slug: (lease, entry)}, registry.quota if registry else UNCOUNTED)
        return CacheResult(entry, CacheState.MISS)

    async def _wait_for_fill(self, shop_id: int, slug: str) -> Entry | None:
        deadline = time.monotonic() + self.wait_for_fill_seconds
        with suppress(CacheUnavailable):
            while time.monotonic() < deadline:
                await asyncio.sleep(_POLL_SECONDS)
                if entry := await self.get(shop_id, slug):
                    return entry
        return None

    async def _try_release(self, shop_id: int, leases: Mapping[str, Lease]) -> None:
        with suppress(CacheUnavailable):  # they then expire
            await self.release(shop_id, leases)
