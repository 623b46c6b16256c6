"""Reads registries through the cache, and refills it. Builds the JSON body of a registry."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import Final

import orjson

from wishcraft.cache.entries import Entry
from wishcraft.cache.registries import CacheResult
from wishcraft.cache.scripts import Outcome
from wishcraft.domain.cached_registry import CachedRegistry
from wishcraft.domain.registries import access_level, is_registry_ref
from wishcraft.domain.registry_payload import compose_payload
from wishcraft.errors import DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.store import registries, registry_payloads
from wishcraft.store.engine import Database

READ_SECONDS: Final = 2.0
"""How long a reader waits for PostgreSQL."""
_MAX_CACHED_SLUGS: Final = 100_000
_LARGEST_ID: Final = 2**63 - 1

Waiting = defaultdict[str, list["asyncio.Future[CachedRegistry | None]"]]


class RegistryReader:
    """Read-through with single flight: each process has at most one query per shop in progress.

    Readers that arrive during a load share the next one: the load in progress may miss what was committed since it
    began.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._waiting: dict[int, Waiting] = {}
        self._loading: dict[int, asyncio.Task[None]] = {}
        self._slugs: dict[tuple[int, int], str] = {}

    async def read(self, shop_id: int, slug: str) -> CacheResult:
        """The shop's registry with this slug: from Redis, or from PostgreSQL, which fills Redis.

        Raises:
            DatabaseUnavailable: Redis has no entry, and PostgreSQL did not answer within `READ_SECONDS`.
        """
        return await self._resources.cache.read(shop_id, slug, lambda: self._load(shop_id, slug))

    async def find_slug(self, shop_id: int, ref: str) -> str | None:
        """The slug of the registry with this slug or id; None if there is none. Slugs never change."""
        if not is_registry_ref(ref):
            return None
        if not ref.isdecimal():
            return ref
        number = int(ref)
        if number > _LARGEST_ID:
            return None
        if slug := self.known_slug(shop_id, number):
            return slug
        async with self._resources.db.repeatable_read() as session:
            slug = await registries.find_slug(session, shop_id, number)
        if slug is not None and len(self._slugs) < _MAX_CACHED_SLUGS:
            self._slugs[shop_id, number] = slug
        return slug

    def known_slug(self, shop_id: int, registry_id: int) -> str | None:
        """The slug of the registry with this id, if this process has found it before."""
        return self._slugs.get((shop_id, registry_id))

    async def _load(self, shop_id: int, slug: str) -> CachedRegistry | None:
        future: asyncio.Future[CachedRegistry | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(shop_id, defaultdict(list))[slug].append(future)
        if shop_id not in self._loading:
            self._loading[shop_id] = asyncio.create_task(self._load_waiting(shop_id), context=Context())
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await future
        except TimeoutError:
            raise DatabaseUnavailable("PostgreSQL did not answer in time") from None

    async def _load_waiting(self, shop_id: int) -> None:
        """Load what the shop's readers wait for, batch after batch until none waits."""
        try:
            while waiting := self._waiting.pop(shop_id, None):
                loaded: Mapping[str, CachedRegistry] = {}
                failure: Exception | None = None
                try:
                    loaded = await load_registries(self._resources.db, shop_id, list(waiting))
                except Exception as error:  # noqa: BLE001  each reader gets it
                    failure = error
                for slug, futures in waiting.items():
                    for future in futures:
                        if future.done():  # its reader has timed out or gone
                            continue
                        if failure:
                            future.set_exception(failure)
                        else:
                            future.set_result(loaded.get(slug))
        finally:
            del self._loading[shop_id]


async def load_registries(db: Database, shop_id: int, slugs: Sequence[str]) -> dict[str, CachedRegistry]:
    """These registries as PostgreSQL has them now, by slug, in one query; unknown slugs are left out."""
    async with db.autocommit() as session:
        found = await registry_payloads.find_parts(session, shop_id, slugs)
    return {
        registry.slug: CachedRegistry(
            version=registry.version,
            access_level=access_level(registry.visibility, registry.status),
            owner=registry.owner or 0,
            body=orjson.dumps(compose_payload(registry, orjson.Fragment(items), sums)),
            quota=quota,
        )
        for registry, items, sums, quota in found
    }


async def refill(resources: Resources, shop_id: int, slugs: Sequence[str]) -> dict[str, Entry]:
    """Load these registries and fill the cache with them; the entries filled, by slug.

    A registry is skipped whose lease a reader holds (that reader fills it), or whose floor a writer has raised.

    Raises:
        CacheUnavailable: Redis does not answer.
    """
    results = await resources.cache.refill(shop_id, partial(load_registries, resources.db, shop_id), slugs)
    return {slug: entry for slug, (outcome, entry) in results.items() if entry and outcome is Outcome.FILLED}
