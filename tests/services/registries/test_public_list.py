"""Pages of the public list that a process keeps: never older than what a caller who may write has been shown."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

import orjson
import pytest
from redis.asyncio import Redis

from tests.support.aliases import Demo
from wishcraft.cache import keys
from wishcraft.cache.read_permit import ReadPermit
from wishcraft.cache.shared_connection import SharedConnection
from wishcraft.domain.callers import Caller, Scope
from wishcraft.errors import TooManySearches
from wishcraft.resources import Resources
from wishcraft.services.registries.public_list import KEPT_SECONDS, PublicLists
from wishcraft.services.registries.write import find_pending, registry_write
from wishcraft.services.single_flight import LOAD_TIMEOUT_SECONDS
from wishcraft.store import registries
from wishcraft.store.audit_log import Actor
from wishcraft.store.pending_invalidations import record
from wishcraft.store.registry_lists import ListPage, PageRequest, Search
from wishcraft.store.shops import ShopRef

PAGE: Final = PageRequest(100)


@pytest.fixture
async def lists(resources: Resources) -> AsyncIterator[PublicLists]:
    """The lists of a process that has the permit to use Redis; a page that is kept does not expire."""
    permit = resources.cache.permit = ReadPermit(lambda: find_pending(resources))
    await permit.renew()
    await resources.redis.learn_era()
    yield PublicLists(resources, kept_seconds=3_600)
    await permit.stop()


@pytest.fixture
def guest(shop: ShopRef) -> Caller:
    return Caller(shop.id, "guest:1:192.0.2.1")


@pytest.fixture
def server(shop: ShopRef) -> Caller:
    return Caller(shop.id, "key:abc", None, frozenset({Scope.READ, Scope.WRITE}))


async def titles(lists: PublicLists, caller: Caller, search: Search | None = None) -> list[str]:
    page = orjson.loads(await lists.read(caller, PAGE, search or Search()))
    return [registry["title"] for registry in page["registries"]]


async def rename(resources: Resources, shop: ShopRef, demo: Demo, title: str) -> None:
    row = demo.execute(
        "SELECT id FROM registries WHERE shop_id = %s AND visibility = 'public' AND status = 'active'", [shop.id]
    ).fetchone()
    assert row
    async with registry_write(resources, Actor(shop.id, "test"), [row[0]], on_cache_down="refuse") as write:
        await registries.update_columns(write.session, shop.id, row[0], {"title": title})
        write.changed(row[0])


def reads(queries: Sequence[str]) -> int:
    """How often a page was read from PostgreSQL."""
    return sum("registry_items" in query for query in queries)


async def test_callers_share_a_page_while_nothing_is_written(
    lists: PublicLists, guest: Caller, server: Caller, queries: list[str]
) -> None:
    for caller in (guest, server):
        first = await titles(lists, caller)
        assert first
        assert await titles(lists, replace(caller, name=f"{caller.name}2")) == first
    assert reads(queries) == 2  # one for those who may write
    assert await titles(lists, guest, Search("nothing")) == []
    assert await titles(lists, replace(guest, shop_id=guest.shop_id + 1)) != first
    assert reads(queries) == 4


async def test_caller_who_may_write_sees_each_change_at_once(
    lists: PublicLists, resources: Resources, shop: ShopRef, demo: Demo, server: Caller, guest: Caller
) -> None:
    await titles(lists, server)
    await titles(lists, guest)
    for title in ("First", "Second"):
        await rename(resources, shop, demo, title)
        assert title in await titles(lists, server)
        assert title not in await titles(lists, guest)


async def test_page_from_before_a_write_has_expired_when_the_shop_is_quiet_again(
    resources: Resources, shop: ShopRef, demo: Demo, redis: Redis
) -> None:
    await rename(resources, shop, demo, "First")
    [left_ms] = await redis.hpttl(keys.of_shop(shop.id).written, "at")
    seconds = left_ms / 1_000
    a_load, a_page = LOAD_TIMEOUT_SECONDS, KEPT_SECONDS
    assert seconds > keys.HOLD_SECONDS + a_load + a_page  # of a load that began just before the last commit


@pytest.mark.parametrize("trouble", ["redis", "no permit", "too many pending", "pending"])
async def test_no_page_is_kept_for_who_may_write_when_it_may_be_outdated(
    lists: PublicLists,
    resources: Resources,
    shop: ShopRef,
    demo: Demo,
    server: Caller,
    trouble: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:

    async def refused() -> None:
        raise ConnectionRefusedError

    await titles(lists, server)
    demo.execute("UPDATE registries SET title = 'Changed' WHERE shop_id = %s", [shop.id])
    assert "Changed" not in await titles(lists, server)
    permit = resources.cache.permit
    assert permit
    if trouble == "redis":
        monkeypatch.setattr(resources.redis, "_scripts", SharedConnection(refused, 0.1))
    elif trouble == "no permit":
        resources.cache.permit = ReadPermit(lambda: find_pending(resources))
    elif trouble == "too many pending":
        permit.renew_from(float("inf"), None)
    else:
        async with resources.db.transaction() as session:
            await record(session, shop.id, {"any": 1})
        await permit.renew()
    assert "Changed" in await titles(lists, server)


async def test_number_of_pages_that_are_kept_is_bounded(
    resources: Resources, guest: Caller, queries: list[str]
) -> None:
    lists = PublicLists(resources, kept_seconds=3_600, most_pages=2)
    for words in ("a", "b", "c", "c", "b"):
        await titles(lists, guest, Search(words))
    assert reads(queries) == 3
    await titles(lists, guest, Search("a"))
    assert reads(queries) == 4
    assert len(lists._pages) == 2


class HeldLists(PublicLists):
    """Reads each page only once `go` is set; `begun` has the shops whose pages are being read."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources, turn_seconds=0)
        self.begun, self.go = asyncio.Queue[int](), asyncio.Event()

    async def _find(self, shop_id: int, *request: Any, **options: Any) -> ListPage[Any]:
        self.begun.put_nowait(shop_id)
        await self.go.wait()
        return await super()._find(shop_id, *request, **options)


async def test_search_of_a_shop_that_many_search_is_refused_and_holds_up_no_other(
    resources: Resources, guest: Caller, server: Caller
) -> None:
    lists, other_shop = HeldLists(resources), replace(guest, shop_id=guest.shop_id + 1)
    reading = []
    by_day = Search(event_to=date(1990, 1, 1))
    for caller, search in (
        (guest, Search("zq")), (server, by_day), (guest, Search()), (server, Search("")), (other_shop, Search("zq")),
    ):  # fmt: skip
        reading.append(asyncio.create_task(lists.read(caller, PAGE, search)))
        assert await lists.begun.get() == caller.shop_id
    for caller, search in ((guest, by_day), (server, Search("hugo"))):
        with pytest.raises(TooManySearches):
            await lists.read(caller, PAGE, search)
    lists.go.set()
    assert all(await asyncio.gather(*reading))
    assert await lists.read(guest, PAGE, Search("hugo"))
