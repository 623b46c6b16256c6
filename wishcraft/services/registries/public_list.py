"""The public list of registries: pages are kept for a second, and read from a replica where seconds do not matter."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

import orjson

from wishcraft.cache.read_permit import Trust
from wishcraft.domain.callers import Caller
from wishcraft.domain.registry_lists import encode_cursor
from wishcraft.domain.registry_payload import Summary, page_payload, summary_payload
from wishcraft.errors import CacheUnavailable, TooManySearches, database_silent
from wishcraft.observability.metrics import LIST_READS
from wishcraft.resources import Resources
from wishcraft.services.single_flight import LOAD_TIMEOUT_SECONDS, SingleFlightCache
from wishcraft.store import registry_lists
from wishcraft.store.engine import Database
from wishcraft.store.registry_lists import ListPage, PageRequest, Search

KEPT_SECONDS: Final = 1.0
"""With a load of at most 5 s, a page is used for less than the 10 s by which `keys.WRITTEN_TTL_MS` is longer than a
write: a page from before a write has expired when the shop counts as quiet again."""
_MOST_PAGES: Final = 64
_MOST_SEARCHES: Final = 2
"""Searches of a shop at once: words that are short, or days that no registry has in another order, let PostgreSQL read
all registries of the shop. Those of one sender would else take all connections, and the processor."""
_TURN_SECONDS: Final = 2.0
"""How long a search waits for its turn."""


class _Request(NamedTuple):
    shop_id: int
    may_write: bool
    page: PageRequest
    search: Search


class PublicLists:
    """The lists of all shops, for one process.

    Guests share a page for `kept_seconds`. Callers who may change registries get one that shows all changes which any
    process has acknowledged: a kept page only while Redis says that nothing in the shop was written lately, and else
    one that is read from the primary.
    """

    def __init__(
        self,
        resources: Resources,
        *,
        kept_seconds: float = KEPT_SECONDS,
        most_pages: int = _MOST_PAGES,
        turn_seconds: float = _TURN_SECONDS,
    ) -> None:
        self._resources = resources
        self._kept_seconds = kept_seconds
        self._most_pages = most_pages
        self._turn_seconds = turn_seconds
        self._turns = WeakValueDictionary[int, asyncio.Semaphore]()
        """By shop, while it is being searched."""
        self._pages: OrderedDict[_Request, SingleFlightCache[bytes]] = OrderedDict()

    async def read(self, caller: Caller, page: PageRequest, search: Search) -> bytes:
        """A page of the shop's public registries that match the search, as JSON.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
            TooManySearches: Too many search this shop at this moment.
        """
        request = _Request(caller.shop_id, caller.may_write, page, search)
        if caller.may_write and not await self._is_quiet(caller.shop_id):
            return await self._load(request)
        kept = self._pages.get(request)
        if kept is None:
            if len(self._pages) >= self._most_pages:
                self._pages.popitem(last=False)
            kept = self._pages[request] = SingleFlightCache(partial(self._load, request), self._kept_seconds)
        try:
            return await kept.get()
        except TimeoutError:
            raise database_silent(LOAD_TIMEOUT_SECONDS) from None

    async def _is_quiet(self, shop_id: int) -> bool:
        """Whether it is known that the shop's registries have not changed lately."""
        permit = self._resources.cache.permit
        if permit is None or permit.has_pending or permit.trust(shop_id, "") is not Trust.CURRENT:
            return False
        try:
            return await self._resources.cache.is_quiet(shop_id)
        except CacheUnavailable:
            return False

    async def _load(self, request: _Request) -> bytes:
        shop_id, may_write, page, search = request
        async with self._turn(shop_id, search):
            found = await self._find(shop_id, page, search, may_use_replica=not may_write)
        registries = [summary_payload(registry) for registry in found.registries]
        cursor = encode_cursor(page.sort, search, found.end) if found.end else None
        return orjson.dumps(page_payload(registries, found.total, cursor))

    @asynccontextmanager
    async def _turn(self, shop_id: int, search: Search) -> AsyncIterator[None]:
        """Wait until few others search the shop; a list without filters is read at once."""
        if not any(search):
            yield
            return
        turns = self._turns.setdefault(shop_id, asyncio.Semaphore(_MOST_SEARCHES))
        try:
            async with asyncio.timeout(self._turn_seconds):
                await turns.acquire()
        except TimeoutError:
            raise TooManySearches("Too many search this shop at this moment. Wait for Retry-After.", 1) from None
        try:
            yield
        finally:
            turns.release()

    async def _find(
        self, shop_id: int, page: PageRequest, search: Search, *, may_use_replica: bool
    ) -> ListPage[Summary]:
        resources = self._resources

        async def find(db: Database) -> ListPage[Summary]:
            return await registry_lists.list_public(db, shop_id, page, search, resources.shopify_origin)

        if may_use_replica and resources.replica and (found := await resources.replica.try_read(find)):
            LIST_READS.labels("replica").inc()
            return found
        LIST_READS.labels("primary").inc()
        return await find(resources.db)
