"""Expiring tokens are refreshed once across clients, and durable before they are used."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest

from deployments.sandbox.shopify.credentials import LIFETIME
from deployments.sandbox.shopify.faults import Fault, FaultKind
from tests.support.shopify_world import SHOP, FakeClock, MemoryTokens, World
from tests.support.waiting import wait_until
from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ShopifyUnauthorized, ShopifyUnavailable, TokenRefused
from wishcraft.shopify.tokens import AccessTokens
from wishcraft.shopify.variants import read_variants


async def test_expired_token_is_refreshed(world: World) -> None:
    world.clock.epoch += LIFETIME + 1
    assert await read_variants(world.client, SHOP, world.ids(1))
    assert world.shop.counters.token_refreshes == 1


async def test_two_clients_that_share_a_store_refresh_once(world: World) -> None:
    world.clock.epoch += LIFETIME + 1
    clients = (world.client, world.another_client())
    await asyncio.gather(*(read_variants(client, SHOP, world.ids(1)) for client in clients for _ in range(5)))
    assert world.shop.counters.token_refreshes == 1
    assert len(world.tokens.saved) == 1


async def test_token_about_to_expire_is_refreshed_by_one_of_two_clients(world: World) -> None:
    stored = world.tokens.tokens[SHOP]
    soon = world.clock.now() + timedelta(minutes=4)
    world.tokens.tokens[SHOP] = OfflineToken(stored.access, stored.refresh, soon)
    clients = (world.client, world.another_client())
    await asyncio.gather(*(read_variants(client, SHOP, world.ids(1)) for client in clients))
    assert world.shop.counters.token_refreshes == 1
    assert world.tokens.tokens[SHOP].expires_at == world.clock.now() + timedelta(seconds=LIFETIME)


async def test_new_refresh_token_is_durable_before_the_new_access_token_is_used(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.clock.epoch += LIFETIME + 1

    async def lose(_shop: str, _token: OfflineToken) -> None:
        raise ConnectionError("the database does not answer")

    with monkeypatch.context() as broken:
        broken.setattr(world.tokens, "save", lose)
        with pytest.raises(ConnectionError):
            await read_variants(world.client, SHOP, world.ids(1))
    assert await read_variants(world.client, SHOP, world.ids(1))  # the old refresh token is still good


async def test_refresh_is_repeatable_until_the_new_token_is_used(world: World) -> None:
    refresh = str(world.tokens.tokens[SHOP].refresh)
    credentials = world.simulator.credentials
    assert credentials.refresh(SHOP, refresh)
    again = credentials.refresh(SHOP, refresh)
    assert again
    assert credentials.accepts(SHOP, again.access)
    assert credentials.refresh(SHOP, refresh) is None


async def test_shop_that_revoked_the_app_must_install_it_again(world: World) -> None:
    world.tokens.tokens[SHOP] = OfflineToken("shpat_revoked", "shprt_revoked", None)
    with pytest.raises(ShopifyUnauthorized, match="has no token"):
        await read_variants(world.client, SHOP, world.ids(1))


async def test_token_without_a_refresh_token_is_not_refreshed(world: World) -> None:
    world.tokens.tokens[SHOP] = OfflineToken("shpat_revoked")
    with pytest.raises(ShopifyUnauthorized, match="has no refresh token"):
        await read_variants(world.client, SHOP, world.ids(1))


async def test_single_spurious_401_costs_one_refresh(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=1))
    assert await read_variants(world.client, SHOP, world.ids(1))
    assert world.shop.counters.token_refreshes == 1


async def test_null_in_place_of_a_token_is_refused_and_not_saved(world: World) -> None:
    world.clock.epoch += LIFETIME + 1
    world.shop.faults.set(Fault(FaultKind.EMPTY_TOKEN, remaining=None))
    with pytest.raises(ShopifyUnavailable, match="no valid token"):
        await read_variants(world.client, SHOP, world.ids(1))
    assert world.tokens.saved == []


@pytest.mark.parametrize("field", ["access_token", "refresh_token"])
@pytest.mark.parametrize("value", [None, "", " ", "two words", "a\nb", "é", 7, True, ["shpat_a"], {}])
async def test_what_is_no_token_is_refused(world: World, field: str, value: object) -> None:
    await refuse(world, {field: value})


@pytest.mark.parametrize("value", [None, "", "soon", 0, -3600, 10**12, True, [], 1.5])
async def test_what_is_no_lifetime_of_a_token_is_refused(world: World, value: object) -> None:
    await refuse(world, {"expires_in": value})


async def refuse(world: World, changed: dict[str, object]) -> None:
    """An answer with these fields is refused, and the stored token stays."""
    answer = {"access_token": "shpat_new", "refresh_token": "shprt_new", "expires_in": 3600, **changed}
    stored = world.tokens.tokens[SHOP]
    world.tokens.tokens[SHOP] = OfflineToken(stored.access, stored.refresh, world.clock.now())
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer))) as http:
        world.http = http
        with pytest.raises(ShopifyUnavailable, match="no valid token"):
            await read_variants(world.another_client(), SHOP, [1])
    assert world.tokens.saved == []


async def test_refused_refresh_deletes_the_token_so_that_the_shop_is_authorised_again(world: World) -> None:
    world.clock.epoch += LIFETIME + 1
    world.simulator.credentials.issue(SHOP, [])  # its refresh token is not the stored one
    with pytest.raises(ShopifyUnauthorized):
        await read_variants(world.client, SHOP, [1])
    assert SHOP not in world.tokens.tokens


async def test_wrong_credentials_of_the_app_cost_no_shop_its_token(world: World) -> None:
    world.clock.epoch += LIFETIME + 1
    with pytest.raises(ShopifyUnauthorized, match="SHOPIFY_API_SECRET"):
        await read_variants(world.another_client(api_secret="of another app"), SHOP, [1])
    assert await read_variants(world.client, SHOP, world.ids(1))


class WithoutLock(MemoryTokens):
    """A token store whose locks are lost at once, as with their connection."""

    @asynccontextmanager
    async def refresh_lock(self, shop: str) -> AsyncIterator[None]:  # noqa: ARG002  of no shop
        yield


async def test_lost_race_of_two_refreshes_keeps_the_token_that_was_issued_last() -> None:
    store, clock, issued, is_saved = WithoutLock(), FakeClock(), list[OfflineToken](), asyncio.Event()
    refused = store.tokens[SHOP]

    async def exchange(_shop: str, refresh: str) -> OfflineToken:
        assert refresh == refused.refresh
        number = len(issued)
        issued.append(OfflineToken(f"shpat_{number}", f"shprt_{number}", clock.now() + timedelta(seconds=number)))
        if number == 0:
            await is_saved.wait()
        return issued[number]

    async def refresh() -> OfflineToken:
        return await AccessTokens(store, exchange, clock).refresh(SHOP, refused)

    first = asyncio.create_task(refresh())
    await wait_until(lambda: issued)
    assert await refresh() == issued[1]
    is_saved.set()
    assert await first == issued[1] == store.tokens[SHOP]


async def test_refusal_after_a_lost_race_returns_the_other_refreshs_token() -> None:
    store, clock = WithoutLock(), FakeClock()
    refused, winner = store.tokens[SHOP], OfflineToken("shpat_winner", "shprt_winner", FakeClock().now())

    async def refuse_the_used_one(_shop: str, _refresh: str) -> OfflineToken:
        await store.save(SHOP, winner)  # the other process has stored it, and has used it
        raise TokenRefused("used")

    assert await AccessTokens(store, refuse_the_used_one, clock).refresh(SHOP, refused) == winner
    assert store.tokens[SHOP] == winner
