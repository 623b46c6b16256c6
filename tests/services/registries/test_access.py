"""Grants that end while a guest uses them."""

from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from deployments.sandbox.demo_rows import ACCESS_CODE
from tests.support.aliases import Demo
from tests.support.outages import postgresql_unavailable
from wishcraft.cache import keys
from wishcraft.cache.keys import SessionName
from wishcraft.domain.callers import Caller
from wishcraft.errors import DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.registries.access import is_granted, unlock
from wishcraft.services.registries.lifecycle import Draft, update_registry
from wishcraft.services.registries.write import ChangeRequest
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef


@pytest.fixture
def change(demo: Demo, shop: ShopRef) -> ChangeRequest:
    """The request of the owner of a protected registry to change it."""
    [(slug, owner)] = demo.execute(
        """SELECT slug, customer_id FROM registries
           WHERE shop_id = %s AND status = 'active' AND visibility = 'password' ORDER BY id LIMIT 1""",
        [shop.id],
    ).fetchall()
    return ChangeRequest(Caller(shop.id, "customer:1", owner), slug, "registry.changed")


@pytest.mark.parametrize("moment", ["unlock", "read"])
async def test_grant_that_ends_while_it_is_put_into_redis_opens_nothing(
    resources: Resources, redis: Redis, change: ChangeRequest, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    shop_id, slug, put = change.caller.shop_id, change.slug, resources.sessions.put

    async def put_after_a_new_code(name: SessionName, opened: str, expires_at: datetime) -> None:
        monkeypatch.undo()
        await update_registry(resources, change, Draft({}, "tulip-canoe-pearl"))
        await put(name, opened, expires_at)

    async def unlock_it() -> str:
        return (await unlock(resources, Caller(shop_id, "guest:1"), ["1"], slug, ACCESS_CODE)).token

    if moment == "read":
        token = await unlock_it()
        assert await is_granted(resources, shop_id, slug, token)
        await redis.delete(*await redis.keys(keys.SESSIONS))
    monkeypatch.setattr(resources.sessions, "put", put_after_a_new_code)
    if moment == "unlock":
        token = await unlock_it()
    assert not await is_granted(resources, shop_id, slug, token)
    assert await redis.keys(keys.SESSIONS) == []


async def test_grant_that_postgresql_does_not_confirm_is_valid_and_not_in_redis(
    settings: Settings, resources: Resources, redis: Redis, change: ChangeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop_id, slug, put = change.caller.shop_id, change.slug, resources.sessions.put
    with ExitStack() as outage:

        async def put_before_an_outage(*arguments: Any) -> None:
            await put(*arguments)
            outage.enter_context(postgresql_unavailable(settings))

        monkeypatch.setattr(resources.sessions, "put", put_before_an_outage)
        token = (await unlock(resources, Caller(shop_id, "guest:1"), ["1"], slug, ACCESS_CODE)).token
        assert await redis.keys(keys.SESSIONS) == []
        with pytest.raises(DatabaseUnavailable):
            await is_granted(resources, shop_id, slug, token)
    monkeypatch.undo()
    assert await is_granted(resources, shop_id, slug, token)
