import asyncio
from math import inf
from typing import Any

import orjson
import pytest

from tests.support.aliases import Demo
from tests.support.recorded_statements import recorded_statements
from tests.support.waiting import wait_until
from wishcraft.cache.registries import CacheState
from wishcraft.domain.cached_registry import AccessLevel
from wishcraft.domain.callers import Caller
from wishcraft.errors import DatabaseUnavailable
from wishcraft.observability.context import current_context, log_context
from wishcraft.resources import Resources
from wishcraft.services.registries.reader import DATABASE_READ_SECONDS, RegistryReader, load_registries
from wishcraft.store.shops import ShopRef


def slug_of(demo: Demo, shop: ShopRef) -> str:
    found = demo.execute("SELECT slug FROM registries WHERE shop_id = %s ORDER BY id", [shop.id]).fetchone()
    assert found
    return str(found[0])


async def test_a_miss_takes_one_query_and_a_hit_takes_none(
    resources: Resources, demo: Demo, shop: ShopRef, queries: list[str]
) -> None:
    first = await RegistryReader(resources).read(shop.id, slug_of(demo, shop))
    assert (first.state, len(queries)) == (CacheState.MISS, 1)
    second = await RegistryReader(resources).read(shop.id, slug_of(demo, shop))
    assert (second.state, len(queries)) == (CacheState.HIT, 1)
    assert second.entry == first.entry


async def test_many_readers_of_one_miss_load_it_once(
    resources: Resources, demo: Demo, shop: ShopRef, queries: list[str]
) -> None:
    resources.cache.wait_for_fill_seconds = 30  # however busy the machine is
    slug = slug_of(demo, shop)
    answers = await asyncio.gather(*(RegistryReader(resources).read(shop.id, slug) for _ in range(20)))
    assert len({answer.entry.body for answer in answers if answer.entry}) == 1
    assert len(queries) == 1


async def test_another_shops_registry_is_not_there(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    slug = slug_of(demo, shop)
    await RegistryReader(resources).read(shop.id, slug)
    assert (await RegistryReader(resources).read(shop.id + 1, slug)).entry.header.access_level is AccessLevel.ABSENT


async def test_no_address_place_or_code_is_in_an_answer(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    rows = demo.execute(
        "SELECT slug, customer_email, event_location, access_code_hash FROM registries WHERE shop_id = %s", [shop.id]
    ).fetchall()
    names = [name for (name,) in demo.execute("SELECT purchaser_name FROM purchases WHERE shop_id = %s", [shop.id])]
    assert names
    for slug, *secrets in rows:
        answer = await RegistryReader(resources).read(shop.id, slug)
        assert answer.entry
        body = answer.entry.body.decode()
        assert not [secret for secret in (*secrets, *names) if secret and secret in body]
        assert "@" not in body


async def test_hidden_items_are_not_shown(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    slug = slug_of(demo, shop)
    demo.execute("UPDATE registry_items SET status = 'hidden' WHERE shop_id = %s", [shop.id])
    answer = await RegistryReader(resources).read(shop.id, slug)
    assert answer.entry
    assert orjson.loads(answer.entry.body)["items"] == []


async def test_readers_who_come_during_a_load_share_the_next_one(
    resources: Resources, demo: Demo, shop: ShopRef, queries: list[str]
) -> None:
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = %s", [shop.id])]
    reader = RegistryReader(resources)
    first = asyncio.create_task(reader._load(shop.id, slugs[0]))
    await wait_until(lambda: queries, pause=0)
    later = await asyncio.gather(*(reader._load(shop.id, slug) for slug in slugs * 25))
    assert all(later)
    assert await first
    assert len(queries) == 2


async def test_shared_load_has_no_request_context(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    contexts: list[dict[str, str]] = []
    with (
        recorded_statements(lambda _: contexts.append(dict(current_context()))),
        log_context(request_id="the-first-to-ask"),
    ):
        await RegistryReader(resources).read(shop.id, slug_of(demo, shop))
    assert contexts == [{}]


class HangingLoads:
    """Loads of registries, of which the first hangs until it is released."""

    def __init__(self) -> None:
        self.begun = 0
        self.sizes = list[int]()
        self.released = asyncio.Event()

    async def load(self, *arguments: Any) -> Any:
        self.begun += 1
        self.sizes.append(len(arguments[2]))
        if self.begun == 1:
            await self.released.wait()
        return await load_registries(*arguments)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> HangingLoads:
    loads = HangingLoads()
    monkeypatch.setattr("wishcraft.services.registries.reader.load_registries", loads.load)
    return loads


async def test_load_that_hangs_is_abandoned_and_the_next_one_is_not_held_up(
    resources: Resources, demo: Demo, shop: ShopRef, loads: HangingLoads
) -> None:
    reader, slug = RegistryReader(resources, database_seconds=0.05), slug_of(demo, shop)
    with pytest.raises(DatabaseUnavailable):
        await reader.read(shop.id, slug)
    reader.database_seconds = DATABASE_READ_SECONDS
    assert (await reader.read(shop.id, slug)).entry.body
    assert loads.begun == 2
    loads.released.set()
    await asyncio.gather(*reader._tasks)


async def test_reader_waits_for_the_load_of_others_only_until_its_deadline(
    resources: Resources, demo: Demo, shop: ShopRef, loads: HangingLoads
) -> None:
    reader, slug = RegistryReader(resources), slug_of(demo, shop)
    first = asyncio.create_task(reader._load(shop.id, slug))
    await wait_until(lambda: loads.begun == 1, pause=0)
    reader._running[shop.id].deadline = 0
    assert await reader._load(shop.id, slug)
    loads.released.set()
    assert await first
    assert loads.begun == 2
    assert not reader._running


async def test_misses_of_many_registries_at_once_are_loaded_by_several_queries(
    resources: Resources, demo: Demo, shop: ShopRef, loads: HangingLoads
) -> None:
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = %s", [shop.id])]
    reader = RegistryReader(resources, max_joined=2)
    reading = [asyncio.create_task(reader._load(shop.id, slug)) for slug in [*slugs, *slugs[:1]]]
    await wait_until(lambda: loads.begun == 1, pause=0)
    loads.released.set()
    assert all(await asyncio.gather(*reading))
    assert (len(slugs), loads.sizes) == (4, [2, 2, 1])


async def test_readers_who_left_before_their_load_began_are_not_loaded_for(
    resources: Resources, demo: Demo, shop: ShopRef, loads: HangingLoads
) -> None:
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = %s", [shop.id])]
    reader = RegistryReader(resources, max_joined=1, database_seconds=0.05)
    first = asyncio.create_task(reader._load(shop.id, slugs[0]))
    await wait_until(lambda: loads.begun == 1, pause=0)
    reader._running[shop.id].deadline = inf
    left = await asyncio.gather(*(reader._load(shop.id, slug) for slug in slugs), first, return_exceptions=True)
    assert [type(each) for each in left] == [DatabaseUnavailable] * 5
    loads.released.set()
    await asyncio.gather(*reader._tasks)
    assert loads.sizes == [1, 1]  # what had joined, and none of those who waited until it began


async def test_readers_who_wait_for_a_place_in_a_load_get_one_before_those_who_come_later(
    resources: Resources, demo: Demo, shop: ShopRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    slugs = [slug for (slug,) in demo.execute("SELECT slug FROM registries WHERE shop_id = %s", [shop.id])]
    reader, loaded, later = RegistryReader(resources, max_joined=1), list[str](), list[asyncio.Task[Any]]()

    async def load(*arguments: Any) -> Any:
        loaded.extend(arguments[2])
        if not later:  # the first load has begun: a place in the next one is free
            later.append(asyncio.create_task(reader._load(shop.id, slugs[2])))
        return await load_registries(*arguments)

    monkeypatch.setattr("wishcraft.services.registries.reader.load_registries", load)
    await asyncio.gather(*(reader._load(shop.id, slug) for slug in slugs[:2]))
    await asyncio.gather(*later)
    assert loaded == slugs[:3]


async def test_registry_is_found_by_id_when_a_process_remembers_few(
    demo: Demo, resources: Resources, shop: ShopRef
) -> None:
    rows = demo.execute("SELECT id::text, slug FROM registries WHERE shop_id = %s LIMIT 3", [shop.id]).fetchall()
    slugs: dict[str, str] = dict(rows)
    reader, server = RegistryReader(resources, max_named=2), Caller(shop.id, "key:server")
    for _ in range(2):
        assert [await reader.find_slug(server, ref) for ref in slugs] == list(slugs.values())
    assert [reader.known_slug(server, int(ref)) for ref in slugs] == [None, *list(slugs.values())[1:]]
    customer = Caller(shop.id, "customer:1", 1)  # who does not own it, so that it is looked up again
    assert await reader.find_slug(customer, list(slugs)[2]) is None
    assert [reader.known_slug(server, int(ref)) for ref in slugs] == [None, *list(slugs.values())[1:]]
