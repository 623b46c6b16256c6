"""Who is calling, and for which shop: a server with an API key, or a guest through Shopify's app proxy."""

import hmac
import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import UTC, datetime
from typing import Annotated, Final, Generic, NamedTuple, TypeVar

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader, APIKeyQuery

from api.problems import unauthorized
from wishcraft.domain.api_keys import digest, prefix_of
from wishcraft.resources import Resources
from wishcraft.settings import Settings
from wishcraft.shopify.signatures import verify_proxy_query
from wishcraft.store import api_keys, shops

REMEMBERED_SECONDS: Final = 30
"""A key that is revoked, or a shop that uninstalls, is let in for this long at most."""
_REMEMBERED_MOST: Final = 10_000

_API_KEY: Final = APIKeyHeader(
    name="X-API-Key", scheme_name="API key", description="A server's key; it belongs to one shop.", auto_error=False
)
_SIGNATURE: Final = APIKeyQuery(
    name="signature",
    scheme_name="App proxy",
    description="Shopify signs requests that come through the shop's own domain.",
    auto_error=False,
)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Caller(NamedTuple):
    """The shop that the caller may see, and the customer that Shopify says is logged in."""

    shop_id: int
    customer_id: int | None = None


class Remembered(Generic[K, V]):
    """What look-ups found, kept for a short while in this process. What was not found is asked again each time."""

    def __init__(self, find: Callable[[K], Awaitable[V | None]]) -> None:
        self._find = find
        self._found: dict[K, tuple[float, V]] = {}

    async def get(self, key: K) -> V | None:
        """The value, at most `REMEMBERED_SECONDS` old."""
        now = time.monotonic()
        known = self._found.get(key)
        if known and now < known[0]:
            return known[1]
        value = await self._find(key)
        self._found.pop(key, None)
        if value is not None:
            while len(self._found) >= _REMEMBERED_MOST:
                del self._found[next(iter(self._found))]  # the one that was looked up first
            self._found[key] = (now + REMEMBERED_SECONDS, value)
        return value


class Callers:
    """Tells who is calling; one for the application."""

    def __init__(self, resources: Resources, settings: Settings) -> None:
        self._db = resources.db
        secrets = (settings.shopify_api_secret, settings.shopify_api_secret_previous)
        self._secrets = [secret.get_secret_value() for secret in secrets if secret]
        self._keys = Remembered(self._find_key)
        self._shops = Remembered(self._find_shop)

    async def by_key(self, key: str) -> Caller | None:
        """The caller whose API key this is."""
        prefix = prefix_of(key)
        holder = await self._keys.get(prefix) if prefix else None
        if holder is None or not hmac.compare_digest(holder.key_hash, digest(key)):
            return None
        if holder.expires_at and holder.expires_at <= datetime.now(UTC):
            return None
        return Caller(holder.shop_id)

    async def by_signature(self, query_string: bytes) -> Caller | None:
        """The guest for whom Shopify signed this query."""
        identity = verify_proxy_query(query_string, self._secrets, datetime.now(UTC))
        shop = await self._shops.get(identity.shop) if identity else None
        return Caller(shop.id, identity.customer_id) if shop and identity else None

    async def _find_key(self, prefix: str) -> api_keys.KeyHolder | None:
        async with self._db.snapshot() as session:
            return await api_keys.find_holder(session, prefix)

    async def _find_shop(self, domain: str) -> shops.ShopRef | None:
        async with self._db.snapshot() as session:
            return await shops.find_by_domain(session, domain)


async def identify(
    request: Request,
    key: Annotated[str | None, Security(_API_KEY)],
    signature: Annotated[str | None, Security(_SIGNATURE)],
) -> Caller:
    """The caller; 401 if nothing proves one. A key that is shown decides, also against a signature."""
    callers: Callers = request.app.state.callers
    if key is not None:
        caller = await callers.by_key(key)
        reason = "The API key is unknown, revoked or expired."
    elif signature is not None:
        caller = await callers.by_signature(request.scope["query_string"])
        reason = "The app-proxy signature is wrong or too old."
    else:
        caller, reason = None, "Show an API key in X-API-Key, or come through Shopify's app proxy."
    if caller is None:
        raise unauthorized(reason)
    return caller


Identified = Annotated[Caller, Depends(identify)]
