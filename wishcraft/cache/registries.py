"""Registries in Redis, kept coherent: read-through for requests, refill for jobs and for writers that have committed.

A `load` callback reads the primary and sees the last commit; its bodies are no older than the versions with them.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Final, NamedTuple, TypeGuard

from wishcraft.cache import keys
from wishcraft.cache.client import Memory, Server
from wishcraft.cache.coherence import CoherenceCommands, Lease, make_entry, now_ms
from wishcraft.cache.counters import Counters
from wishcraft.cache.entries import Entry
from wishcraft.cache.scripts import Outcome
from wishcraft.domain.cached_registry import UNCOUNTED, CachedRegistry, Quota
from wishcraft.errors import CacheUnavailable

WAIT_FOR_FILL_SECONDS: Final = 0.5
REFRESH_SECONDS: Final = 1.0
"""For how long a reader who has an old entry at hand waits for a newer one."""
_POLL_SECONDS: Final = 0.005
_NO_ERA: Final = bytes(8)

_log = logging.getLogger(__name__)

Load = Callable[[], Awaitable[CachedRegistry | None]]
LoadMany = Callable[[Sequence[str]], Awaitable[Mapping[str, CachedRegistry]]]


class CacheState(StrEnum):
    """Where an answer came from."""

    HIT = "hit"
    STALE = "stale"
    """From Redis, past its soft expiry: no writer has marked it, but it is time to look."""
    MISS = "miss"
    """From PostgreSQL, and filled unless a writer was faster."""
    BYPASS = "bypass"
    """From PostgreSQL and not filled: Redis is away, takes no fills yet, or another reader is slow to fill."""


class CacheResult(NamedTuple):
    """What a read found: an entry, be it one that says that there is no such registry."""

    entry: Entry
    state: CacheState


class RegistryCache(CoherenceCommands):
    """The cache of all shops on one server; a reader that starts later is never answered an older version."""

    def __init__(
        self, server: Server, *, hold_seconds: float = keys.HOLD_SECONDS, counters: Counters | None = None
    ) -> None:
        """Fills are counted in `counters`, if these are given."""
        super().__init__(server, hold_seconds=hold_seconds)
        self._counters = counters

    async def memory(self) -> Memory:
        """The memory of the server that the cache is on.

        Raises:
            CacheUnavailable: Redis is away.
        """
        return await self._server.memory()

    async def ready_to_fill(self) -> None:
        """Wait until the server takes fills: `hold_seconds` from the begin of its era.

        Raises:
            CacheUnavailable: Redis is away.
        """
        age = await self._server.learn()
        await asyncio.sleep(max(0, self._hold_seconds - age))

    async def fill(
        self, shop_id: int, loaded: Mapping[str, tuple[Lease, Entry]], quota: Quota = UNCOUNTED
    ) -> dict[str, Outcome]:
        """As `Steps.fill`, and counts what came of it."""
        outcomes = await super().fill(shop_id, loaded, quota)
        if self._counters:
            for outcome in outcomes.values():
                stored = "stored" if outcome is Outcome.FILLED else "refused"
                self._counters.count("cache_fills_total", outcome=stored)
        return outcomes

    async def read(self, shop_id: int, slug: str, load: Load) -> CacheResult:
        """One registry, from Redis if it can be: many readers of one that is missing make one load.

        Raises only what `load` raises, and that only if Redis has no entry, be it past its soft expiry.
        """
        entry: Entry | None = None
        lease: Lease | Outcome = Outcome.ON_HOLD
        with suppress(CacheUnavailable):
            entry = await self.get(shop_id, slug)
            if _is_fresh(entry):
                return CacheResult(entry, CacheState.HIT)
            lease = (await self.lease(shop_id, [slug]))[slug]
            if isinstance(lease, Lease) and _is_fresh(newer := await self.get(shop_id, slug)):
                # Another reader filled it and gave its lease back between our two questions.
                await self._give_back(shop_id, {slug: lease})
                return CacheResult(newer, CacheState.HIT)
        if entry:
            return await self._refresh(shop_id, slug, entry, lease, load)
        if isinstance(lease, Lease):
            return await self._load(shop_id, slug, lease, load)
        if lease is Outcome.HELD and (entry := await self._wait_for_fill(shop_id, slug)):
            return CacheResult(entry, CacheState.HIT)
        return CacheResult(make_entry(await load(), _NO_ERA), CacheState.BYPASS)

    async def refill(self, shop_id: int, load_many: LoadMany, slugs: Iterable[str]) -> Counter[str]:
        """Load these slugs in one go and fill them; one that another reader is about to fill is left to it.

        Returns:
            How many slugs came to each `Outcome`.

        Raises:
            CacheUnavailable: Redis is away; some may have been filled.
        """
        asked = await self.lease(shop_id, slugs)
        leases = {slug: lease for slug, lease in asked.items() if isinstance(lease, Lease)}
        outcomes = Counter[str](outcome for outcome in asked.values() if isinstance(outcome, Outcome))
        try:
            documents = await load_many(list(leases)) if leases else {}
        except BaseException:
            await self._give_back(shop_id, leases)
            raise
        loaded = {slug: (lease, make_entry(documents.get(slug), lease.era)) for slug, lease in leases.items()}
        filled = await self.fill(shop_id, loaded, _quota(documents.values()))
        outcomes.update(outcome if slug in documents else Outcome.NOT_FOUND for slug, outcome in filled.items())
        return outcomes

    async def _refresh(self, shop_id: int, slug: str, entry: Entry, lease: Lease | Outcome, load: Load) -> CacheResult:
        """A newer entry if the lease is ours and the load succeeds, else the one at hand.

        After a failed load the lease is left to run out, so that an ailing PostgreSQL is not asked by every reader.
        """
        if not isinstance(lease, Lease):
            return CacheResult(entry, CacheState.STALE)
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                document = await load()
            return await self._fill_one(shop_id, slug, lease, document)
        except Exception:  # noqa: BLE001  whatever ails the load, an entry is at hand; it is logged
            _log.exception("A registry past its soft expiry could not be loaded; guests go on getting the old entry")
            return CacheResult(entry, CacheState.STALE)

    async def _load(self, shop_id: int, slug: str, lease: Lease, load: Load) -> CacheResult:
        try:
            document = await load()
        except BaseException:
            await self._give_back(shop_id, {slug: lease})
            raise
        return await self._fill_one(shop_id, slug, lease, document)

    async def _fill_one(self, shop_id: int, slug: str, lease: Lease, document: CachedRegistry | None) -> CacheResult:
        entry = make_entry(document, lease.era)
        with suppress(CacheUnavailable):
            await self.fill(shop_id, {slug: (lease, entry)}, _quota([document] if document else []))
        return CacheResult(entry, CacheState.MISS)

    async def _wait_for_fill(self, shop_id: int, slug: str) -> Entry | None:
        deadline = time.monotonic() + WAIT_FOR_FILL_SECONDS
        with suppress(CacheUnavailable):
            while time.monotonic() < deadline:
                await asyncio.sleep(_POLL_SECONDS)
                if entry := await self.get(shop_id, slug):
                    return entry
        return None

    async def _give_back(self, shop_id: int, leases: Mapping[str, Lease]) -> None:
        with suppress(CacheUnavailable):  # it then runs out by itself
            await self.release(shop_id, leases)


def _quota(documents: Iterable[CachedRegistry]) -> Quota:
    """The quota of the one shop that these are of."""
    return next((document.quota for document in documents), UNCOUNTED)


def _is_fresh(entry: Entry | None) -> TypeGuard[Entry]:
    return entry is not None and now_ms() < entry.header.soft_expiry_ms
