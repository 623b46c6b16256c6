"""Reads registries through the cache, and refills it."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final
from weakref import WeakValueDictionary

import orjson

from wishcraft.cache.entries import Entry, with_body
from wishcraft.cache.registries import CacheResult
from wishcraft.cache.scripts import FillOutcome
from wishcraft.domain.cached_registry import CachedRegistry
from wishcraft.domain.callers import Caller
from wishcraft.domain.ids import LARGEST_ID
from wishcraft.domain.private_fields import private_fields_payload
from wishcraft.domain.registries import is_registry_ref
from wishcraft.errors import database_silent
from wishcraft.resources import Resources
from wishcraft.store import registries, registry_payloads
from wishcraft.store.private_fields import VersionedFields
from wishcraft.store.registries import NamedRegistry

DATABASE_READ_SECONDS: Final = 2.0
"""How long a reader waits for PostgreSQL."""
_MAX_JOINED: Final = 200
"""Registries of one query: of more misses at once, each query must end in time, and its answer is held in memory."""
_MAX_NAMED: Final = 100_000
"""Registries whose slug and owner a process remembers by their ids, the oldest of which it then forgets."""


@dataclass(slots=True)
class _Load:
    """A load of registries of one shop, which more readers may join until it begins."""

    slugs: list[str]
    """One of each reader who has joined."""
    task: "asyncio.Task[dict[str, CachedRegistry]]"
    places: asyncio.Semaphore
    deadline: float = inf
    """On the monotonic clock: then the next one no longer waits for it."""


class RegistryReader:
    """Read-through with single flight: each process has one query per shop in progress, and more only if one hangs.

    Readers that arrive during a load share the next one: the load in progress may miss what was committed since it
    began. If that one is full, they wait for a place in one after it, in the order in which they came: those who have
    left by then are not loaded for.
    """

    def __init__(
        self,
        resources: Resources,
        *,
        max_named: int = _MAX_NAMED,
        max_joined: int = _MAX_JOINED,
        database_seconds: float = DATABASE_READ_SECONDS,
    ) -> None:
        self._resources = resources
        self._max_joined = max_joined
        self.database_seconds = database_seconds
        self._next: dict[int, _Load] = {}
        """The load of each shop that has not begun."""
        self._places = WeakValueDictionary[int, asyncio.Semaphore]()
        """Those of each shop's next load, while it has loads."""
        self._running: dict[int, _Load] = {}
        self._tasks: set[asyncio.Task[dict[str, CachedRegistry]]] = set()
        """All that have not ended, which may hang. The event loop itself keeps only weak references."""
        self._named: OrderedDict[tuple[int, int], NamedRegistry] = OrderedDict()
        self._max_named = max_named

    async def read(self, shop_id: int, slug: str, *, was_missing: bool = False) -> CacheResult:
        """The shop's registry with this slug: from Redis, or from PostgreSQL, which fills Redis.

        `was_missing` says that the caller has just found none in Redis.

        Raises:
            DatabaseUnavailable: Redis has no entry, and PostgreSQL did not answer within `database_seconds`.
        """
        return await self._resources.cache.read(
            shop_id, slug, lambda: self._load(shop_id, slug), was_missing=was_missing
        )

    async def find_slug(self, caller: Caller, ref: str) -> str | None:
        """The slug of the registry with this slug or id; None if there is none, or the caller may not use its id.

        Slugs never change. Owners do, when customers are merged: what is remembered of an id opens it to its owner, and
        never closes it.
        """
        if not is_registry_ref(ref):
            return None
        if not ref.isdecimal():
            return ref
        key = (caller.shop_id, int(ref))
        if key[1] > LARGEST_ID:
            return None
        slug = self.known_slug(caller, key[1])
        if slug is None and caller.may_use_id(caller.customer_id):
            named = await registries.find_named(self._resources.db, *key)
            if named is None:
                return None
            if key not in self._named and len(self._named) >= self._max_named:
                self._named.popitem(last=False)
            self._named[key] = named
            slug = self.known_slug(caller, key[1])
        return slug

    def known_slug(self, caller: Caller, registry_id: int) -> str | None:
        """As `find_slug`, if this process has found the registry before."""
        named = self._named.get((caller.shop_id, registry_id))
        return named.slug if named and caller.may_use_id(named.owner) else None

    async def _load(self, shop_id: int, slug: str) -> CachedRegistry | None:
        places = self._places.setdefault(shop_id, asyncio.Semaphore(self._max_joined))
        try:
            async with asyncio.timeout(self.database_seconds):
                await places.acquire()
                load = self._next.get(shop_id)
                if load is None:
                    task = asyncio.create_task(self._load_next(shop_id), context=Context())
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
                    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # readers may leave
                    load = self._next[shop_id] = _Load([], task, places)
                load.slugs.append(slug)
                await asyncio.wait({load.task})
        except TimeoutError:
            raise database_silent(self.database_seconds) from None
        return load.task.result().get(slug)

    async def _load_next(self, shop_id: int) -> dict[str, CachedRegistry]:
        """Load what the shop's readers ask for until its load in progress has ended."""
        if running := self._running.get(shop_id):  # its connection may hang for long: this one takes another
            await asyncio.wait({running.task}, timeout=running.deadline - time.monotonic())
        load = self._running[shop_id] = self._next.pop(shop_id)
        for _ in load.slugs:
            load.places.release()
        load.deadline = time.monotonic() + self.database_seconds
        try:
            return await load_registries(self._resources, shop_id, load.slugs)
        finally:
            if self._running.get(shop_id) is load:
                del self._running[shop_id]


async def load_registries(resources: Resources, shop_id: int, slugs: Sequence[str]) -> dict[str, CachedRegistry]:
    """These registries as PostgreSQL has them now, by slug, in one query; unknown slugs are left out."""
    [rows] = await resources.db.fetch_each([registry_payloads.find(shop_id, slugs)])
    return registry_payloads.read(rows, resources.shopify_origin)


def with_private_fields(entry: Entry, found: VersionedFields) -> Entry:
    """The entry with the private fields of its registry.

    Its version is the older one of the two parts, so that `If-Match` never names more than the registrant has seen.
    """
    body = entry.body[:-1] + b"," + orjson.dumps(private_fields_payload(found.fields))[1:]
    return with_body(entry, body, min(entry.header.version, found.version))


async def refill(resources: Resources, shop_id: int, slugs: Sequence[str]) -> dict[str, Entry]:
    """Load these registries and fill the cache with them; the entries filled, by slug.

    A registry is skipped whose lease a reader holds (that reader fills it), or whose floor a writer has raised.

    Raises:
        CacheUnavailable: Redis does not answer.
    """
    results = await resources.cache.refill(shop_id, partial(load_registries, resources, shop_id), slugs)
    return {slug: entry for slug, (outcome, entry) in results.items() if entry and outcome is FillOutcome.FILLED}
