"""Reads go on while PostgreSQL does not answer for longer than a process caches who its callers are."""

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace

import httpx
import pytest

from api.auth.authenticator import CACHE_SECONDS, TTLCache
from tests.support.aliases import Demo, OpenClient
from tests.support.api import Shopper, problem, public_slug
from tests.support.outages import postgresql_unavailable
from tests.support.waiting import wait_until
from wishcraft.errors import DatabaseUnavailable, UnknownShop
from wishcraft.resources import Resources
from wishcraft.settings import Settings


async def test_callers_of_before_read_on_in_a_long_outage_of_postgresql(
    settings: Settings, demo: Demo, open_client: OpenClient, key: dict[str, str], signed: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    url, late = f"/api/registries/{public_slug(demo)}", [0]

    def now() -> float:
        return time.monotonic() + late[0]

    monkeypatch.setattr("api.auth.authenticator.time", SimpleNamespace(monotonic=now, time=time.time))
    async with open_client(settings) as client:
        guest, foreign = Shopper(client, signed), Shopper(client, signed, shop="sakura-living.myshopify.com")

        async def read() -> list[httpx.Response]:
            return [await client.get(url, headers=key), await guest.send("GET", url)]

        assert [each.status_code for each in await read()] == [200, 200]
        with postgresql_unavailable(settings):
            for _ in range(3):
                late[0] += CACHE_SECONDS
                assert [each.status_code for each in await read() + await read()] == [200] * 4
            assert problem(await foreign.send("GET", url)) == (503, "unavailable")
        demo.execute("UPDATE api_keys SET revoked_at = now(); UPDATE shops SET status = 'uninstalled'")

        async def is_refused() -> bool:
            late[0] += CACHE_SECONDS
            return {each.status_code for each in await read()} == {401}

        await wait_until(is_refused)


async def test_value_that_was_refused_is_not_used_in_an_outage(resources: Resources) -> None:
    outcomes = [None, UnknownShop("shop"), DatabaseUnavailable("no answer")]

    async def find(_: str) -> str:
        if outcome := outcomes.pop(0):
            raise outcome
        return "value"

    cache = TTLCache(find, resources, seconds=0)
    assert await cache.get("key") == "value"
    with pytest.raises(UnknownShop):
        await cache.get("key")
    with pytest.raises(DatabaseUnavailable):
        await cache.get("key")


async def test_value_that_another_look_up_removes_is_not_used_after_a_time_out(resources: Resources) -> None:
    is_asked, times_out = asyncio.Event(), asyncio.Event()

    async def find(_: str) -> str | None:
        if is_asked.is_set():
            return None  # the key was revoked
        is_asked.set()
        await times_out.wait()
        raise DatabaseUnavailable("no answer")

    cache = TTLCache(find, resources, seconds=0)
    cache._entries["key"] = (0, "value")
    late = asyncio.create_task(cache.get("key"))
    await is_asked.wait()
    assert await cache.get("key") is None
    times_out.set()
    with pytest.raises(DatabaseUnavailable):
        await late
    assert not cache.has_had("key")
