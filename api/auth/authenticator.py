"""Who is calling, and for which shop: a server with an API key, a guest through Shopify's app proxy, or its admin."""

import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Generic, NamedTuple, TypeVar

from starlette.types import Scope as Connection

from wishcraft.domain.api_keys import prefix_of
from wishcraft.domain.callers import EVERYTHING, Caller, Scope
from wishcraft.domain.networks import Network, client_address, is_within, parse_networks
from wishcraft.resources import Resources
from wishcraft.services.operations.traffic_recorder import TrafficRecorder
from wishcraft.settings import Settings
from wishcraft.shopify.id_tokens import verify_id_token
from wishcraft.shopify.signatures import TOLERANCE, verify_proxy_query
from wishcraft.store import api_keys, shops

REMEMBERED_SECONDS: Final = 30
"""A key that is revoked, or a shop that uninstalls, is let in for this long at most."""
_REMEMBERED_MOST: Final = 10_000
_SIGNED_MOST: Final = 50_000

_DIGEST_SIZE: Final = 32
_PREFIX: Final = slice(3, 15)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class KnownKey(NamedTuple):
    """A key that has been shown before."""

    caller: Caller
    prefix: str
    networks: tuple[Network, ...]
    expires: float
    """Unix time."""


class KnownQuery(NamedTuple):
    """A signed query that has been verified before."""

    until: float
    """Unix time: for no longer than Shopify's timestamp holds, and the shop is known to have the app."""
    shop_id: int
    caller: Caller | None
    """The customer; None for a guest, who is known by the address that each request comes from."""


class TTLCache(Generic[K, V]):
    """What look-ups found, kept for a short while in this process. What was not found is asked again each time."""

    def __init__(self, find: Callable[[K], Awaitable[V | None]]) -> None:
        self._find = find
        self._found: dict[K, tuple[float, V]] = {}

    def known(self, key: K) -> V | None:
        """The value if it is known, at most `REMEMBERED_SECONDS` old; asks nobody."""
        known = self._found.get(key)
        return known[1] if known and time.monotonic() < known[0] else None

    async def get(self, key: K) -> V | None:
        """The value, at most `REMEMBERED_SECONDS` old."""
        if (known := self.known(key)) is not None:
            return known
        value = await self._find(key)
        self._found.pop(key, None)
        if value is not None:
            while len(self._found) >= _REMEMBERED_MOST:
                del self._found[next(iter(self._found))]  # the one that was looked up first
            self._found[key] = (time.monotonic() + REMEMBERED_SECONDS, value)
        return value


class Authenticator:
    """Tells who is calling; one for the application."""

    def __init__(self, resources: Resources, settings: Settings, tracker: TrafficRecorder) -> None:
        self._db = resources.db
        secrets = (settings.shopify_api_secret, settings.shopify_api_secret_previous)
        self._secrets = [secret.get_secret_value() for secret in secrets if secret]
        self._client_id = settings.shopify_api_key
        self._trusted = parse_networks(settings.trusted_proxies)
        self._tracker = tracker
        self._keys = TTLCache(self._find_key)
        self._shops = TTLCache(self._find_shop)
        self._signed: dict[bytes, KnownQuery] = {}

    def known_by_key(self, key: bytes, scope: Connection) -> Caller | None:
        """The caller whose API key this is, if it was shown of late."""
        known = self._keys.known(_shown(key))
        return self._admit(known, scope) if known else None

    async def by_key(self, key: str, scope: Connection) -> Caller | None:
        """The caller whose API key this is."""
        known = await self._keys.get(_shown(key.encode())) if prefix_of(key) else None
        return self._admit(known, scope) if known else None

    def known_by_signature(self, scope: Connection) -> Caller | None:
        """The guest for whom Shopify signed the query, if the very same was verified of late and is still in time."""
        signed = self._signed.get(scope["query_string"])
        if signed is None or signed.until < time.time():
            return None
        return signed.caller or self._guest(signed.shop_id, scope)

    async def by_signature(self, scope: Connection) -> Caller | None:
        """The guest for whom Shopify signed the query."""
        now = datetime.now(UTC)
        identity = verify_proxy_query(scope["query_string"], self._secrets, now)
        shop = await self._shops.get(identity.shop) if identity else None
        if identity is None or shop is None:
            return None
        customer = identity.customer_id
        caller = Caller(shop.id, f"customer:{shop.id}:{customer}", customer) if customer is not None else None
        while len(self._signed) >= _SIGNED_MOST:
            del self._signed[next(iter(self._signed))]
        until = min(identity.signed_at + TOLERANCE, now + timedelta(seconds=REMEMBERED_SECONDS)).timestamp()
        self._signed[scope["query_string"]] = KnownQuery(until, shop.id, caller)
        return caller or self._guest(shop.id, scope)

    async def by_id_token(self, token: str) -> Caller | None:
        """The merchant in the embedded admin who has this ID token."""
        identity = verify_id_token(token, self._secrets, self._client_id)
        shop = await self._shops.get(identity.shop) if identity else None
        return Caller(shop.id, f"admin:{shop.id}:{identity.user}", None, EVERYTHING) if shop and identity else None

    def address(self, scope: Connection) -> str:
        """Where the request comes from, seen through our own proxies."""
        return client_address(*_chain(scope), self._trusted)

    def _guest(self, shop_id: int, scope: Connection) -> Caller:
        return Caller(shop_id, f"guest:{shop_id}:{client_address(*_chain(scope), self._trusted, hops=1)}")

    def _admit(self, known: KnownKey, scope: Connection) -> Caller | None:
        if known.expires <= time.time():
            return None
        if known.networks and not is_within(self.address(scope), known.networks):
            return None
        self._tracker.record_key_use(known.prefix)
        return known.caller

    async def _find_key(self, shown: bytes) -> KnownKey | None:
        key_hash, prefix = shown[:_DIGEST_SIZE], shown[_DIGEST_SIZE:].decode()
        async with self._db.autocommit() as session:
            holder = await api_keys.find_holder(session, prefix)
        if holder is None or holder.key_hash != key_hash:
            return None
        networks = parse_networks(",".join(holder.ip_allow_list))
        expires = holder.expires_at.timestamp() if holder.expires_at else float("inf")
        scopes = frozenset(map(Scope, holder.scopes))
        if Scope.WRITE in scopes:
            scopes |= {Scope.READ}
        return KnownKey(Caller(holder.shop_id, f"key:{prefix}", None, scopes), prefix, networks, expires)

    async def _find_shop(self, domain: str) -> shops.ShopRef | None:
        async with self._db.autocommit() as session:
            return await shops.find_by_domain(session, domain)


def _shown(key: bytes) -> bytes:
    """The key's digest, then its prefix: a look-up takes as long for a key that is nearly right as for any other."""
    return sha256(key).digest() + key[_PREFIX]


def _chain(scope: Connection) -> tuple[str, list[str]]:
    """Whom the connection is with, and through whom the request came to them."""
    forwarded_for = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return scope["client"][0] if scope.get("client") else "", forwarded_for
