"""Access tokens of shops and their refresh. Where tokens are kept is up to the `TokenStore`."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ShopifyUnauthorized, TokenRefused
from wishcraft.shopify.pacing import Clock


class TokenStore(Protocol):
    """Encrypted storage of offline tokens, shared by all processes."""

    async def load(self, shop: str) -> OfflineToken:
        """The shop's current token; `shop` is its `*.myshopify.com` domain.

        Raises:
            ShopifyUnauthorized: The shop has no token.
        """
        ...

    async def save(self, shop: str, token: OfflineToken) -> None:
        """Store the shop's new token, unless it has none any more, or one that expires later; durable on return."""
        ...

    async def discard(self, shop: str, token: OfflineToken) -> None:
        """Delete the shop's token, so that the shop is to be authorised again; unless it has another one by now."""
        ...

    def refresh_lock(self, shop: str) -> AbstractAsyncContextManager[None]:
        """Lock the refresh of the shop's token across all processes."""
        ...


class AccessTokens:
    """The access tokens of all shops, refreshed before they expire or when Shopify refuses them."""

    def __init__(
        self, store: TokenStore, exchange: Callable[[str, str], Awaitable[OfflineToken]], clock: Clock
    ) -> None:
        """`exchange(shop, refresh_token)` returns a new pair of tokens from Shopify."""
        self._store = store
        self._exchange = exchange
        self._clock = clock

    async def current(self, shop: str) -> OfflineToken:
        """A token that does not expire soon.

        Raises:
            ShopifyUnauthorized: The shop has no token, or an expired one that cannot be refreshed.
            ShopifyUnavailable: The token needs a refresh, and Shopify cannot be reached.
        """
        token = await self._store.load(shop)
        return await self.refresh(shop, token) if token.needs_refresh(self._clock.now()) else token

    async def refresh(self, shop: str, refused: OfflineToken) -> OfflineToken:
        """The successor of `refused`: stored by another process meanwhile, or obtained now.

        The new refresh token is durable before the new access token is used, because its first use ends the old pair.
        https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/offline-access-tokens

        The lock can be lost with its connection, so two processes may refresh at once: the token that Shopify issued
        last is kept and returned, and a refusal counts only if no other token was stored meanwhile.

        Raises:
            ShopifyUnauthorized: The token cannot be refreshed.
            ShopifyUnavailable: Shopify cannot be reached.
        """
        async with self._store.refresh_lock(shop):
            stored = await self._store.load(shop)
            if stored.access != refused.access:
                return stored
            if stored.refresh is None:
                raise ShopifyUnauthorized(f"{shop}: the access token is not accepted and has no refresh token")
            try:
                token = await self._exchange(shop, stored.refresh)
            except TokenRefused:
                await self._store.discard(shop, stored)
                return await self._store.load(shop)  # raises, unless another process has refreshed it
            await self._store.save(shop, token)
            return await self._store.load(shop)
