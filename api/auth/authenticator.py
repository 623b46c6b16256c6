"""Authentication: an API key, a query signed by Shopify's app proxy, or an ID token of the embedded admin."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any, Final, Generic, NamedTuple, TypeVar

from starlette.types import Scope as Connection

from wishcraft.domain.api_keys import digest, prefix_of
from wishcraft.domain.callers import EVERYTHING, Caller, Scope
from wishcraft.domain.networks import Network, client_address, is_within, network_of, parse_networks, parse_proxies
from wishcraft.domain.rate_limits import Policy, Verdict
from wishcraft.errors import DatabaseUnavailable, IdTokenRefused, ShopifyUnauthorized, UnknownShop
from wishcraft.resources import Resources
from wishcraft.services.operations.traffic_recorder import TrafficRecorder
from wishcraft.services.registries.reader import DATABASE_READ_SECONDS
from wishcraft.services.shops.install import OnInstalled, ensure_installed
from wishcraft.settings import Settings
from wishcraft.shopify.id_tokens import verify_id_token
from wishcraft.shopify.signatures import MAX_AGE, MAX_CHANGE_AGE, verify_proxy_query
from wishcraft.store import api_keys, shops
from wishcraft.store.deadline import within

CACHE_SECONDS: Final = 30
"""A revoked key, or a shop that has uninstalled the app, is accepted for at most this long, if PostgreSQL answers."""
_KEEP_SECONDS: Final = 1.0
"""How much longer a value is used while PostgreSQL does not answer, before it is asked for again."""
_LARGEST_CACHE: Final = 10_000
_REFUSALS: Final = Policy("refused", 60, 60)
"""Requests with invalid credentials, of one address or in the name of one shop; more are refused without a query."""
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_ADDRESSES: Final = ("wishcraft.address", "wishcraft.signed_address")
"""Where a scope has the client's address, if Shopify has not, and if it has signed the query."""

_DIGEST_SIZE: Final = 32
_log: Final = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class CachedKey(NamedTuple):
    """An API key that was found in PostgreSQL."""

    caller: Caller
    prefix: str
    networks: tuple[Network, ...]
    expires: float
    """Unix time."""


@dataclass(frozen=True, slots=True)
class VerifiedQuery:
    """A query of a read that Shopify signed."""

    expires: float
    """On the monotonic clock: until then it is not verified again."""
    shop_id: int | None
    """None if only PostgreSQL knows it."""
    caller: Caller | None
    """The customer; None for a guest, whose name is made of each request's address."""


class TTLCache(Generic[K, V]):
    """Results of `find`, a query, in this process, for `seconds`. A None is not cached.

    While PostgreSQL does not answer, values are used for longer: what Redis has is served to callers of before.
    """

    def __init__(
        self, find: Callable[[K], Coroutine[Any, Any, V | None]], resources: Resources, seconds: float = CACHE_SECONDS
    ) -> None:
        self._find = find
        self._cache = resources.cache
        self.seconds = seconds
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def cached(self, key: K) -> V | None:
        """The cached value, if there is one that has not expired."""
        entry = self._entries.get(key)
        return entry[1] if entry and time.monotonic() < entry[0] else None

    def expiry(self, key: K) -> float:
        """When the value expires, on the monotonic clock; in the past if there is none."""
        return self._entries[key][0] if key in self._entries else -inf

    def has_had(self, key: K) -> bool:
        """Whether there was a value when it was last looked up, however long ago."""
        return key in self._entries

    async def get(self, key: K) -> V | None:
        """The cached value, else the result of `find`.

        Raises:
            DatabaseUnavailable: There is no value, and PostgreSQL did not answer within `DATABASE_READ_SECONDS`.
        """
        entry = self._entries.get(key)
        if entry and time.monotonic() < entry[0]:
            return entry[1]
        value, seconds = None, self.seconds
        try:
            if entry and self._cache.permit and self._cache.permit.is_silent:  # no reader waits for it again
                value, seconds = entry[1], _KEEP_SECONDS
            else:
                value = await within(DATABASE_READ_SECONDS, self._find(key))
        except DatabaseUnavailable:
            entry = self._entries.get(key)  # another look-up may have removed it meanwhile
            if entry is None:
                raise
            value, seconds = entry[1], _KEEP_SECONDS
        except UnknownShop:
            self._entries.pop(key, None)
            raise
        self._entries.pop(key, None)
        if value is not None:
            while len(self._entries) >= _LARGEST_CACHE:
                self._entries.popitem(last=False)
            self._entries[key] = (time.monotonic() + seconds, value)
        return value


class Authenticator:
    """Finds the caller of a request."""

    def __init__(
        self, resources: Resources, settings: Settings, traffic_recorder: TrafficRecorder, on_installed: OnInstalled
    ) -> None:
        """`on_installed` is called when a request of the embedded admin has installed the app."""
        self._resources = resources
        self._on_installed = on_installed
        self._db = resources.db
        self._limiter = resources.limiter
        self._secrets = settings.client_secrets
        self._client_id = settings.shopify_api_key
        self._proxies = parse_proxies(settings.trusted_proxies)
        self._traffic_recorder = traffic_recorder
        self._keys = TTLCache(self._find_key, resources)
        self._shops = TTLCache(self._find_shop, resources)

    def cached_by_fingerprint(self, fingerprint: bytes, scope: Connection) -> Caller | None:
        """The caller with the API key of this `fingerprint`, if the key is cached. Does no I/O."""
        cached = self._keys.cached(fingerprint)
        return self._validate_key(cached, scope) if cached else None

    async def by_key(self, key: str, scope: Connection) -> Caller | None:
        """The caller with this API key.

        Raises:
            UnknownShop: The key is valid, and its shop has uninstalled the app.
        """
        fingerprint = key_fingerprint(key)
        if fingerprint is None:
            return None
        # A key that was valid before is looked up in any case: made-up ones of the same address do not lock it out.
        is_asked = self._keys.has_had(fingerprint) or self.may_try(scope).allowed
        found = await self._keys.get(fingerprint) if is_asked else None
        return self._validate_key(found, scope) if found else None

    async def by_signature(self, scope: Connection) -> Caller | None:
        """The customer or guest whose query Shopify signed.

        Raises:
            UnknownShop: Shopify signed it for a shop that has not installed the app.
        """
        max_age = MAX_AGE if scope["method"] in READS else MAX_CHANGE_AGE
        identity = verify_proxy_query(scope["query_string"], self._secrets, datetime.now(UTC), max_age)
        if identity is None:
            return None
        shop = await self._shops.get(identity.shop)
        if shop is None:
            raise UnknownShop(identity.shop)
        return _customer(shop.id, identity.customer_id) or self.guest(shop.id, scope)

    def verify_read(self, query: bytes) -> VerifiedQuery | None:
        """As `by_signature`, of a read: None if Shopify has not signed the query, or too long ago. Does no I/O."""
        now = datetime.now(UTC)
        identity = verify_proxy_query(query, self._secrets, now)
        if identity is None:
            return None
        shop = self._shops.cached(identity.shop)
        if shop is None:
            return VerifiedQuery(-inf, None, None)
        signature_expiry = time.monotonic() + (identity.signed_at + MAX_AGE - now).total_seconds()
        expires = min(signature_expiry, self._shops.expiry(identity.shop))
        return VerifiedQuery(expires, shop.id, _customer(shop.id, identity.customer_id))

    async def by_id_token(self, token: str, *, is_renewal: bool = False) -> Caller | None:
        """The merchant in the embedded admin with this ID token, None if it is not valid.

        Installs the app in a shop that has not.

        With `is_renewal`, the shop gets a new access token in any case.

        Raises:
            UnknownShop: Shopify does not let the app into the shop.
            ShopifyForbidden, ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: The app could not be installed.
        """
        identity = verify_id_token(token, self._secrets, self._client_id)
        if identity is None:
            return None
        tries = f"install:{identity.shop}"
        if not self._limiter.peek(_REFUSALS, tries).allowed:
            raise UnknownShop(identity.shop)
        try:
            shop = await ensure_installed(
                self._resources, identity, token, on_installed=self._on_installed, is_renewal=is_renewal
            )
        except IdTokenRefused:
            return None
        except ShopifyUnauthorized as error:
            self._limiter.take(_REFUSALS, tries)
            _log.warning("The app cannot be installed: %s", error)
            raise UnknownShop(identity.shop) from None
        return Caller(shop.id, f"admin:{shop.id}:{identity.user}", None, EVERYTHING)

    def may_try(self, scope: Connection) -> Verdict:
        """Whether this sender's credentials are looked up in PostgreSQL: not after many that were invalid."""
        return self._limiter.peek(_REFUSALS, self._sender(scope))

    def count_refusal(self, scope: Connection) -> Verdict:
        """Count a request with invalid credentials: 401 if it is allowed, 429 if its sender has sent too many."""
        return self._limiter.take(_REFUSALS, self._sender(scope))

    def address(self, scope: Connection, *, is_signed: bool = False) -> str:
        """The client's address: the nearest in peer and `X-Forwarded-For` chain that is not a trusted proxy."""
        found: str | None = scope.get(_ADDRESSES[is_signed])
        if found is None:
            peer = scope["client"][0] if scope.get("client") else ""
            forwarded_for = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
            found = client_address(peer, forwarded_for, self._proxies, is_signed=is_signed)
            scope[_ADDRESSES[is_signed]] = found
        return found

    def _validate_key(self, key: CachedKey, scope: Connection) -> Caller | None:
        """The key's caller, unless the key has expired or the address is not on its allow list. Records the use."""
        if key.expires <= time.time():
            return None
        if key.networks and not is_within(self.address(scope), key.networks):
            return None
        self._traffic_recorder.record_key_use(key.prefix)
        return key.caller

    def guest(self, shop_id: int, scope: Connection) -> Caller:
        """The caller who came through the app proxy without being logged in, by the address."""
        return Caller(shop_id, f"guest:{shop_id}:{network_of(self.address(scope, is_signed=True))}")

    def _sender(self, scope: Connection) -> str:
        return network_of(self.address(scope))

    async def _find_key(self, fingerprint: bytes) -> CachedKey | None:
        key_hash, prefix = fingerprint[:_DIGEST_SIZE], fingerprint[_DIGEST_SIZE:].decode()
        async with self._db.autocommit() as session:
            holder = await api_keys.find_holder(session, prefix)
        if holder is None or holder.key_hash != key_hash:
            return None
        if not holder.is_installed:
            raise UnknownShop(holder.shop_domain)
        networks = parse_networks(",".join(holder.ip_allow_list))
        expires = holder.expires_at.timestamp() if holder.expires_at else inf
        scopes = frozenset(map(Scope, holder.scopes))
        if Scope.WRITE in scopes:
            scopes |= {Scope.READ}
        return CachedKey(Caller(holder.shop_id, f"key:{prefix}", None, scopes), prefix, networks, expires)

    async def _find_shop(self, domain: str) -> shops.ShopRef | None:
        """A shop that Shopify names. If it is unknown, its requests are refused, and not all that Shopify forwards."""
        if not self._limiter.peek(_REFUSALS, domain).allowed:
            return None
        async with self._db.autocommit() as session:
            found = await shops.find_by_domain(session, domain)
        if found is None:
            self._limiter.take(_REFUSALS, domain)
        return found


def _customer(shop_id: int, customer_id: int | None) -> Caller | None:
    return None if customer_id is None else Caller(shop_id, f"customer:{shop_id}:{customer_id}", customer_id)


def key_fingerprint(key: str) -> bytes | None:
    """SHA-256 of the API key, then its prefix; None unless it has the format and the checksum of a key.

    A look-up of a fingerprint takes equally long for a wrong key and a nearly right one.
    """
    prefix = prefix_of(key)
    return None if prefix is None else digest(key) + prefix.encode()
