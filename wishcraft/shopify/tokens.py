"""How the client comes by a shop's access token, and how it is renewed. What keeps tokens is the store's matter."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ShopifyUnauthorized
from wishcraft.shopify.pacing import Clock


class TokenStore(Protocol):
    """Where offline tokens are kept between requests and processes, encrypted."""

    async def load(self, shop: str) -> OfflineToken:
        """The shop's current token; `shop` is its `*.myshopify.com` domain.

        Raises:
            ShopifyUnauthorized: The shop has none.
        """
        ...

    async def save(self, shop: str, token: OfflineToken) -> None:
        """Keep `token` as the shop's; it is durable when this returns."""
        ...

    def refresh_lock(self, shop: str) -> AbstractAsyncContextManager[None]:
        """Hold the shop's refresh to one at a time across all processes."""
        ...


class AccessTokens:
    """The shops' access tokens, renewed ahead of their end or once Shopify refuses them."""

    def __init__(
        self, store: TokenStore, exchange: Callable[[str, str], Awaitable[OfflineToken]], clock: Clock
    ) -> None:
        """`exchange(shop, refresh_token)` asks Shopify for a new pair."""
        self._store = store
        self._exchange = exchange
        self._clock = clock

    async def current(self, shop: str) -> OfflineToken:
        """A token that will last for a while.

        Raises:
            ShopifyUnauthorized: The shop has no token, or one that ran out and cannot be renewed.
            ShopifyUnavailable: It needs renewal, and Shopify cannot be reached.
        """
        token = await self._store.load(shop)
        return await self.renewed(shop, token) if token.needs_refresh(self._clock.now()) else token

    async def renewed(self, shop: str, stale: OfflineToken) -> OfflineToken:
        """What takes the place of `stale`: what another process has put there meanwhile, or a token asked for now.

        The new refresh token is durable before the new access token is used, because its first use ends the old pair.
        https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens

        Raises:
            ShopifyUnauthorized: It cannot be renewed.
            ShopifyUnavailable: Shopify cannot be reached.
        """
        async with self._store.refresh_lock(shop):
            held = await self._store.load(shop)
            if held.access != stale.access:
                return held
            if held.refresh is None:
                raise ShopifyUnauthorized(f"{shop}: the access token is not accepted and has no refresh token")
            fresh = await self._exchange(shop, held.refresh)
            await self._store.save(shop, fresh)
            return fresh
