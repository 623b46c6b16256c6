"""Expiring tokens are refreshed once across clients, and durable before they are used."""

import asyncio
from datetime import timedelta

import pytest

from deployments.sandbox.shopify.credentials import LIFETIME
from deployments.sandbox.shopify.faults import Fault, FaultKind
from tests.support.shopify_world import SHOP, World
from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ShopifyUnauthorized
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
    with pytest.raises(ShopifyUnauthorized, match="installed anew"):
        await read_variants(world.client, SHOP, world.ids(1))


async def test_token_without_a_refresh_token_is_not_refreshed(world: World) -> None:
    world.tokens.tokens[SHOP] = OfflineToken("shpat_revoked")
    with pytest.raises(ShopifyUnauthorized, match="has no refresh token"):
        await read_variants(world.client, SHOP, world.ids(1))


async def test_single_spurious_401_costs_one_refresh(world: World) -> None:
    world.shop.faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=1))
    assert await read_variants(world.client, SHOP, world.ids(1))
    assert world.shop.counters.token_refreshes == 1
