"""A registry's answer, from the cache or through it. Every byte that a guest sees of a registry is made here."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextvars import Context
from typing import Final

import orjson

from wishcraft.cache.registries import CacheResult
from wishcraft.domain.cached_registry import CachedRegistry
from wishcraft.domain.registries import access_level, is_registry_ref
from wishcraft.domain.registry_payload import RegistryFacts, compose_payload
from wishcraft.errors import DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.store import registries, registry_payloads
from wishcraft.store.engine import Database
from wishcraft.store.registry_payloads import Parts

READ_SECONDS: Final = 2.0
"""For how long a reader waits for PostgreSQL."""
_MOST_SLUGS_KNOWN: Final = 100_000
_LARGEST_ID: Final = 2**63 - 1

Waiting = defaultdict[str, list["asyncio.Future[CachedRegistry | None]"]]


class RegistryReader:
    """Reads registries for one process; readers who come while a shop's load is under way share the next one.

    A reader never joins a load that began before it came, which may not see what was committed since. So however many
    come, and be Redis away, a shop has one query under way from each process.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._waiting: dict[int, Waiting] = {}
        self._loading: dict[int, asyncio.Task[None]] = {}
        self._slugs: dict[tuple[int, int], str] = {}

    async def read(self, shop_id: int, slug: str) -> CacheResult:
        """The shop's registry with this slug: from Redis if it is there, else from PostgreSQL, which then fills Redis.

        Raises:
            DatabaseUnavailable: It is not in Redis, and PostgreSQL did not answer in time.
        """
        return await self._resources.cache.read(shop_id, slug, lambda: self._load(shop_id, slug))

    async def find_slug(self, shop_id: int, ref: str) -> str | None:
        """The slug of the registry with this slug or id; None if there can be none. Slugs never change."""
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
        if slug is not None and len(self._slugs) < _MOST_SLUGS_KNOWN:
            self._slugs[shop_id, number] = slug
        return slug

    def known_slug(self, shop_id: int, registry_id: int) -> str | None:
        """The slug of the registry with this id, if it has been asked for before."""
        return self._slugs.get((shop_id, registry_id))

    async def _load(self, shop_id: int, slug: str) -> CachedRegistry | None:
        future: asyncio.Future[CachedRegistry | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(shop_id, defaultdict(list))[slug].append(future)
        if shop_id not in self._loading:
            self._loading[shop_id] = asyncio.create_task(self._load_all(shop_id), context=Context())
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await future
        except TimeoutError:
            raise DatabaseUnavailable("PostgreSQL did not answer in time") from None

    async def _load_all(self, shop_id: int) -> None:
        try:
            while waiting := self._waiting.pop(shop_id, None):
                await self._load_batch(shop_id, waiting)
        finally:
            del self._loading[shop_id]

    async def _load_batch(self, shop_id: int, waiting: Waiting) -> None:
        documents: Mapping[str, CachedRegistry] = {}
        failure: Exception | None = None
        try:
            documents = await load_documents(self._resources.db, shop_id, list(waiting))
        except Exception as error:  # noqa: BLE001  each reader is told, and decides
            failure = error
        for slug, futures in waiting.items():
            for future in futures:
                if future.done():  # its reader has gone
                    continue
                if failure:
                    future.set_exception(failure)
                else:
                    future.set_result(documents.get(slug))


async def load_documents(db: Database, shop_id: int, slugs: Sequence[str]) -> dict[str, CachedRegistry]:
    """The answers as PostgreSQL has them now, by slug, in one query; slugs that name nothing are left out."""
    async with db.autocommit() as session:
        found = await registry_payloads.find_parts(session, shop_id, slugs)
    return {parts.registry.slug: compose_document(parts) for parts in found}


def compose_document(parts: Parts) -> CachedRegistry:
    """The answer in bytes, and what must be known of it."""
    registry: RegistryFacts = parts.registry
    return CachedRegistry(
        version=registry.version,
        access_level=access_level(registry.visibility, registry.status),
        owner=registry.owner or 0,
        body=orjson.dumps(compose_payload(registry, orjson.Fragment(parts.items), parts.sums)),
        quota=parts.quota,
    )
