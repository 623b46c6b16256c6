"""Client of the Admin GraphQL API: authorization, rate limiting by each shop's points, and retries.

The queries are in `graphql_queries.py`.
"""

import logging
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

import httpx
import orjson

from wishcraft.domain.tokens import OfflineToken, is_token
from wishcraft.errors import (
    IdTokenRefused,
    ShopifyClientRefused,
    ShopifyForbidden,
    ShopifyThrottled,
    ShopifyUnauthorized,
    ShopifyUnavailable,
    TokenRefused,
    in_words,
)
from wishcraft.shopify.pacing import Bucket, Clock, SystemClock, ThrottleStatus, backoff_cap
from wishcraft.shopify.responses import ShopifyResponse, check_status, read_object, read_response
from wishcraft.shopify.retries import Jitter, Retry
from wishcraft.shopify.tokens import AccessTokens, TokenStore

MAX_WAIT_SECONDS: Final = 60.0
"""How long one query may wait for points: a queue of eight full batches on the smallest plan."""
SCOPES: Final = frozenset({"read_customer_merge", "read_inventory", "read_orders", "read_products", "write_app_proxy"})
"""Access scopes that the app needs, as in `shopify.app.toml`."""
_LOGGED_WAIT_SECONDS: Final = 5.0
"""A shorter wait is usual."""
_LONGEST_LIFETIME: Final = 366 * 86_400
"""Seconds. Shopify's access tokens live for an hour."""
_log: Final = logging.getLogger(__name__)


class Count(Protocol):
    """A function that adds to a counter, such as `Counters.count`."""

    def __call__(self, name: str, by: float = 1, **labels: str) -> None:
        """Add `by` to the counter with this name and these labels."""
        ...


WaitForBulk = Callable[[str, float], Awaitable[None]]
"""Waits until the bulk operation with this global id has ended, or for this many seconds."""


def count_nothing(name: str, by: float = 1, **labels: str) -> None:
    """Do nothing: the default of clients without counters."""


class ShopifyClient:
    """The Admin API of all shops of one app. Safe to share between the tasks of one event loop."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        tokens: TokenStore,
        *,
        origin: str,
        api_version: str,
        api_key: str,
        api_secret: str,
        clock: Clock | None = None,
        jitter: Jitter = random.uniform,
        count: Count = count_nothing,
        wait_for_bulk: WaitForBulk | None = None,
    ) -> None:
        """`origin` is a shop's URL with `{shop}` in place of its domain; `http` has the timeouts.

        Without `wait_for_bulk`, a sync that waits for a bulk operation is not woken before the time is up.
        """
        self._count = count
        self.retry = Retry(clock or SystemClock(), jitter)
        self.wait_for_bulk: Final = wait_for_bulk or self._sleep
        self._http = http
        self._tokens = AccessTokens(tokens, self._refresh, self.retry.clock)
        self._origin = origin
        self._api_version = self._served_version = api_version
        self._credentials = {"client_id": api_key, "client_secret": api_secret}
        self._buckets: defaultdict[str, Bucket] = defaultdict(Bucket)
        self.seconds_waited: Final = defaultdict[str, float](float)
        """For points, and for another try after an error; by shop, since the client was made."""
        self._costs: dict[tuple[str, tuple[int, ...]], float] = {}

    async def _sleep(self, _operation_id: str, seconds: float) -> None:
        await self.retry.clock.sleep(seconds)

    def record_wait(self, shop: str, seconds: float) -> None:
        """Count a pause of the shop's queries, which begins now."""
        self.seconds_waited[shop] += seconds
        self._count("shopify_waited_seconds_total", seconds, shop=shop)

    def throttle_status(self, shop: str) -> ThrottleStatus | None:
        """The shop's points as last reported, or None before the first response. `restore_rate` depends on the plan."""
        return self._buckets[shop].status if shop in self._buckets else None

    async def query(self, shop: str, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Run a GraphQL query or mutation as soon as the shop has the points for it; returns the response's `data`.

        Raises:
            ShopifyThrottled: The points would take more than `MAX_WAIT_SECONDS`.
            ShopifyUnavailable: No usable response after all retries.
            ShopifyUnauthorized: Shopify refuses the access token, also after a refresh.
            ShopifyForbidden: The app's IP allowlist lacks this machine's address.
            ShopifyQueryInvalid: Shopify refuses the query: its cost (ShopifyQueryTooLarge), a field
                (ShopifyAccessDenied), or what makes no sense.
            ShopClosed: The shop is not paid for, locked, or not active.
            ShopifyRefused: Shopify refuses for another reason, such as a shop that was deleted.
        """
        token = await self._tokens.current(shop)
        try:
            return await self.query_with(token, shop, query, variables)
        except ShopifyUnauthorized:
            token = await self._tokens.refresh(shop, token)
            return await self.query_with(token, shop, query, variables)

    async def query_with(
        self, token: OfflineToken, shop: str, query: str, variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        """As `query`, with this access token, which is not refreshed."""
        try:
            return await self._query_with(token, shop, query, variables)
        except ShopifyForbidden:
            self._count("shopify_forbidden_total", shop=shop)
            raise

    async def exchange_id_token(self, shop: str, id_token: str) -> OfflineToken:
        """Exchange an ID token of the shop's admin for an expiring offline token, which ends the shop's earlier ones.

        https://shopify.dev/docs/apps/build/authentication-authorization/access-tokens/token-exchange

        Raises:
            IdTokenRefused: Shopify does not accept the ID token.
            ShopifyUnauthorized: Shopify does not accept the app's credentials, or the shop does not have the app.
            ShopifyForbidden, ShopifyRefused: As `query`.
            ShopifyUnavailable: No usable response after all retries.
        """
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": id_token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "requested_token_type": "urn:shopify:params:oauth:token-type:offline-access-token",
            "expiring": "1",
        }
        return await self.retry(partial(self._request_token, shop, form), partial(self.record_wait, shop))

    async def stream_lines(self, url: str) -> AsyncGenerator[bytes, None]:
        """Stream the non-empty lines of a result file, without retries. The signed URL needs no token.

        Raises:
            ShopifyUnavailable: The download failed or ended early.
            ShopifyRefused: There is no such file, or the URL has expired.
        """
        try:
            async with self._http.stream("GET", url) as response:
                check_status(response)
                rest = b""
                async for chunk in response.aiter_bytes():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in filter(None, lines):
                        yield line
                if rest:
                    yield rest
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def _query_with(
        self, token: OfflineToken, shop: str, query: str, variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        bucket, body = self._buckets[shop], orjson.dumps({"query": query, "variables": dict(variables)})
        shape = (query, tuple(len(value) for value in variables.values() if isinstance(value, list)))
        left, demanded, refusals = MAX_WAIT_SECONDS, 0.0, 0
        while True:
            points = self._costs.get(shape, 0.0)
            pause = max(demanded, bucket.reserve(points, self.retry.clock.monotonic()))
            try:
                left -= await self._wait(shop, pause, left)
                response = await self.retry(partial(self._post, shop, token, body), partial(self.record_wait, shop))
            finally:
                bucket.release(points)
            self._update(bucket, shape, response)
            self._count("shopify_points_total", response.actual_cost, shop=shop)
            if response.data is not None:
                return response.data
            self._count("shopify_throttled_total", shop=shop)
            _log.warning(
                "%s: Shopify put off a query of %.0f points; %s", shop, self._costs.get(shape, 0), bucket.status
            )
            demanded = response.retry_after or self._further_pause(bucket, shape, refusals)
            refusals += 1

    async def _wait(self, shop: str, seconds: float, left: float) -> float:
        if seconds > left:
            raise ShopifyThrottled(f"{shop} still throttles after one query waited for {MAX_WAIT_SECONDS - left:.0f} s")
        if seconds:
            if seconds >= _LOGGED_WAIT_SECONDS:
                _log.info("%s: waiting %.0f s for points of Shopify", shop, seconds)
            self.record_wait(shop, seconds)
            await self.retry.clock.sleep(seconds)
        return seconds

    def _update(self, bucket: Bucket, shape: tuple[str, tuple[int, ...]], response: ShopifyResponse) -> None:
        if response.requested_cost is not None:
            self._costs[shape] = response.requested_cost
        if response.status is not None:
            bucket.update(response.status, self.retry.clock.monotonic())

    def _further_pause(self, bucket: Bucket, shape: tuple[str, tuple[int, ...]], refusals: int) -> float:
        """Seconds to wait, if these are more than for the missing points: others may take what is restored meanwhile.

        That is so after a second refusal, and if Shopify's own figures would admit the query.
        """
        status = bucket.status
        explained = status is not None and self._costs.get(shape, 0.0) > status.currently_available
        return 0.0 if explained and not refusals else self.retry.jitter(0.0, backoff_cap(refusals))

    async def _post(self, shop: str, token: OfflineToken, body: bytes) -> ShopifyResponse:
        url = f"{self._origin.format(shop=shop)}/admin/api/{self._api_version}/graphql.json"
        headers = {"Content-Type": "application/json", "X-Shopify-Access-Token": token.access}
        self._count("shopify_requests_total", shop=shop)
        try:
            response = await self._http.post(url, content=body, headers=headers)
            self._note_version(response)
            return read_response(response)
        except httpx.HTTPError as error:
            self._count("shopify_failed_total", shop=shop)
            raise _unreachable(error) from error
        except ShopifyUnavailable:
            self._count("shopify_failed_total", shop=shop)
            raise

    def _note_version(self, response: httpx.Response) -> None:
        """Log once that Shopify answers in a newer version, as it does for one that has ended: nothing else says so.

        https://shopify.dev/docs/api/usage/versioning
        """
        served = response.headers.get("X-Shopify-API-Version", self._served_version)
        if served != self._served_version:
            self._served_version = served
            _log.error(
                "Shopify answers in API version %s, and not in SHOPIFY_API_VERSION=%s, which has probably ended:"
                " install a release of WishCraft for a newer version",
                served,
                self._api_version,
            )

    async def _refresh(self, shop: str, refresh_token: str) -> OfflineToken:
        """A new pair for the refresh token. Safe to retry: the old one is valid until the new one is used."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        return await self.retry(partial(self._request_token, shop, form), partial(self.record_wait, shop))

    async def _request_token(self, shop: str, form: Mapping[str, str]) -> OfflineToken:
        url = f"{self._origin.format(shop=shop)}/admin/oauth/access_token"
        try:
            # Without the header, Shopify gives the reason of a refusal as a page for browsers.
            response = await self._http.post(
                url, data={**self._credentials, **form}, headers={"Accept": "application/json"}
            )
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND}:
            raise _token_refusal(shop, response)
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise ShopifyUnavailable(f"{shop}: too many token requests")
        try:
            check_status(response)
        except ShopifyForbidden:
            self._count("shopify_forbidden_total", shop=shop)
            raise
        body = read_object(response.content)
        if missing := SCOPES - set(str(body.get("scope") or "").split(",")):
            _log.warning(
                "%s: the app was not granted %s: run `shopify app deploy` with deployments/shopify/shopify.app.toml",
                shop,
                ", ".join(sorted(missing)),
            )
        return self._read_token(body)

    def _read_token(self, body: dict[str, Any]) -> OfflineToken:
        access, refresh, lifetime = body.get("access_token"), body.get("refresh_token"), body.get("expires_in")
        if not (is_token(access) and is_token(refresh) and type(lifetime) is int and 0 < lifetime <= _LONGEST_LIFETIME):
            raise ShopifyUnavailable("Shopify's token response has no valid token or lifetime")
        return OfflineToken(access, refresh, self.retry.clock.now() + timedelta(seconds=lifetime))


def _unreachable(error: httpx.HTTPError) -> ShopifyUnavailable:
    return ShopifyUnavailable(f"Shopify could not be reached: {in_words(error)}: {error}".removesuffix(": "))


def _token_refusal(shop: str, response: httpx.Response) -> ShopifyUnauthorized:
    """Why Shopify gives no token. Only `invalid_grant` says that the shop's own token is at fault."""
    try:
        reason = read_object(response.content).get("error")
    except ShopifyUnavailable:
        reason = None
    match reason:
        case "invalid_grant":
            return TokenRefused(f"{shop}: the refresh token is not accepted; the merchant must open the app")
        case "invalid_subject_token":
            return IdTokenRefused(f"{shop}: Shopify does not accept the ID token")
        case "invalid_client":
            return ShopifyClientRefused(
                f"{shop}: Shopify does not accept SHOPIFY_API_KEY and SHOPIFY_API_SECRET, or the app was uninstalled"
            )
    return ShopifyUnauthorized(f"{shop}: Shopify answered {response.status_code} to a request for a token")
