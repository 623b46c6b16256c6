import asyncio
from typing import Any

import orjson
import pytest
from psycopg import Connection

from wishcraft.cache.registries import State
from wishcraft.resources import Resources
from wishcraft.services.serving import read_registry
from wishcraft.store.shops import ShopRef

Demo = Connection[tuple[Any, ...]]


def slug_of(demo: Demo, shop: ShopRef) -> str:
    found = demo.execute("SELECT slug FROM registries WHERE shop_id = %s ORDER BY id", [shop.id]).fetchone()
    assert found
    return str(found[0])


async def test_a_miss_takes_two_queries_and_a_hit_takes_none(
    resources: Resources, demo: Demo, shop: ShopRef, queries: list[str]
) -> None:
    first = await read_registry(resources, shop.id, slug_of(demo, shop))
    assert (first.state, len(queries)) == (State.MISS, 2)
    second = await read_registry(resources, shop.id, slug_of(demo, shop))
    assert (second.state, len(queries)) == (State.HIT, 2)
    assert second.entry == first.entry


async def test_many_readers_of_one_miss_load_it_once(
    resources: Resources, demo: Demo, shop: ShopRef, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wishcraft.cache.registries.WAIT_FOR_FILL_SECONDS", 30)  # however busy the machine is
    slug = slug_of(demo, shop)
    answers = await asyncio.gather(*(read_registry(resources, shop.id, slug) for _ in range(20)))
    assert len({answer.entry.body for answer in answers if answer.entry}) == 1
    assert len(queries) == 2


async def test_another_shops_registry_is_not_there(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    slug = slug_of(demo, shop)
    await read_registry(resources, shop.id, slug)
    assert (await read_registry(resources, shop.id + 1, slug)).entry is None


async def test_no_address_place_or_code_is_in_an_answer(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    rows = demo.execute(
        "SELECT slug, customer_email, event_location, access_code_hash FROM registries WHERE shop_id = %s", [shop.id]
    ).fetchall()
    names = [name for (name,) in demo.execute("SELECT purchaser_name FROM purchases WHERE shop_id = %s", [shop.id])]
    assert names
    for slug, *secrets in rows:
        answer = await read_registry(resources, shop.id, slug)
        assert answer.entry
        body = answer.entry.body.decode()
        assert not [secret for secret in (*secrets, *names) if secret and secret in body]
        assert "@" not in body


async def test_hidden_items_are_not_shown(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    slug = slug_of(demo, shop)
    demo.execute("UPDATE registry_items SET status = 'hidden' WHERE shop_id = %s", [shop.id])
    answer = await read_registry(resources, shop.id, slug)
    assert answer.entry
    assert orjson.loads(answer.entry.body)["items"] == []
