"""Admin GraphQL over HTTP: authorised, paced by each shop's points, and patient with passing faults.

It knows no particular document; those are in `documents.py`.
"""

import logging
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

import httpx
import orjson

from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ShopifyThrottled, ShopifyUnauthorized, ShopifyUnavailable
from wishcraft.shopify.pacing import Bucket, Clock, SystemClock, ThrottleStatus, backoff_cap
from wishcraft.shopify.responses import ShopifyResponse, check_status, read_object, read_response
from wishcraft.shopify.retries import Jitter, Retry
from wishcraft.shopify.tokens import AccessTokens, TokenStore

PATIENCE: Final = 60.0
"""Seconds that one query may spend waiting for points: a queue of eight full batches on the smallest plan."""
_log: Final = logging.getLogger(__name__)


class Count(Protocol):
    """Adds to a counter, as `Counters.count` does."""

    def __call__(self, name: str, by: float = 1, **labels: str) -> None:
        """Add `by` to what is counted under the name and the labels."""
        ...


def count_nothing(name: str, by: float = 1, **labels: str) -> None:
    """For who does not want to know."""


class ShopifyClient:
    """One app's way to the Admin API of all its shops; safe to share between tasks of one event loop."""

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
    ) -> None:
        """`origin` is where a shop answers, with `{shop}` for its domain; `http` brings the timeouts."""
        self._count = count
        self.retry = Retry(clock or SystemClock(), jitter)
        self._http = http
        self._tokens = AccessTokens(tokens, self._exchange, self.retry.clock)
        self._origin = origin
        self._api_version = api_version
        self._credentials = {"client_id": api_key, "client_secret": api_secret}
        self._buckets: defaultdict[str, Bucket] = defaultdict(Bucket)
        self._costs: dict[tuple[str, tuple[int, ...]], float] = {}

    def throttle_status(self, shop: str) -> ThrottleStatus | None:
        """The shop's points as last reported, or None before the first answer: `restore_rate` tells plans apart."""
        return self._buckets[shop].status if shop in self._buckets else None

    async def query(self, shop: str, document: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """The `data` that Shopify answers the document with, once it has the points for it.

        Raises:
            ShopifyThrottled: It would take more than `PATIENCE` to have the points.
            ShopifyUnavailable: No usable answer, after a few more attempts.
            ShopifyUnauthorized: The token is not accepted, not even a renewed one.
            ShopifyQueryInvalid: The document, its variables or its cost are not accepted.
            ShopifyRefused: The shop refuses for another reason (frozen, closed, gone).
        """
        token = await self._tokens.current(shop)
        try:
            return await self._query_as(token, shop, document, variables)
        except ShopifyUnauthorized:
            token = await self._tokens.renewed(shop, token)
            return await self._query_as(token, shop, document, variables)

    async def stream_lines(self, url: str) -> AsyncGenerator[bytes, None]:
        """The non-empty lines of a result file, one attempt, never whole in memory; a signed URL needs no token.

        Raises:
            ShopifyUnavailable: It could not be had, or ended early.
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

    async def _query_as(
        self, token: OfflineToken, shop: str, document: str, variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        bucket, body = self._buckets[shop], orjson.dumps({"query": document, "variables": dict(variables)})
        shape = (document, tuple(len(value) for value in variables.values() if isinstance(value, list)))
        left, told, refusals = PATIENCE, 0.0, 0
        while True:
            points = self._costs.get(shape, 0.0)
            pause = max(told, bucket.reserve(points, self.retry.clock.monotonic()))
            try:
                left -= await self._wait(shop, pause, left)
                answer = await self.retry(partial(self._post, shop, token, body))
            finally:
                bucket.release(points)
            self._learn(bucket, shape, answer)
            self._count("shopify_points_total", answer.actual_cost, shop=shop)
            if answer.data is not None:
                return answer.data
            self._count("shopify_throttled_total", shop=shop)
            _log.warning(
                "%s: Shopify put off a query of %.0f points; %s", shop, self._costs.get(shape, 0), bucket.status
            )
            told = answer.retry_after or self._blind_pause(bucket, shape, refusals)
            refusals += 1

    async def _wait(self, shop: str, seconds: float, left: float) -> float:
        if seconds > left:
            raise ShopifyThrottled(f"{shop} still throttles after {PATIENCE - left:.0f} s of waiting for one query")
        if seconds:
            await self.retry.clock.sleep(seconds)
        return seconds

    def _learn(self, bucket: Bucket, shape: tuple[str, tuple[int, ...]], answer: ShopifyResponse) -> None:
        if answer.requested_cost is not None:
            self._costs[shape] = answer.requested_cost
        if answer.status is not None:
            bucket.learn(answer.status, self.retry.clock.monotonic())

    def _blind_pause(self, bucket: Bucket, shape: tuple[str, tuple[int, ...]], refusals: int) -> float:
        """Seconds to wait where Shopify throttles although its own figures would let the query through."""
        status = bucket.status
        explained = status is not None and self._costs.get(shape, 0.0) > status.currently_available
        return 0.0 if explained else self.retry.jitter(0.0, backoff_cap(refusals))

    async def _post(self, shop: str, token: OfflineToken, body: bytes) -> ShopifyResponse:
        url = f"{self._origin.format(shop=shop)}/admin/api/{self._api_version}/graphql.json"
        headers = {"Content-Type": "application/json", "X-Shopify-Access-Token": token.access}
        self._count("shopify_requests_total", shop=shop)
        try:
            return read_response(await self._http.post(url, content=body, headers=headers))
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    async def _exchange(self, shop: str, refresh_token: str) -> OfflineToken:
        """Ask for a new pair of tokens; to repeat it is safe: the old refresh token lives until the new one is used."""
        return await self.retry(partial(self._exchange_once, shop, refresh_token))

    async def _exchange_once(self, shop: str, refresh_token: str) -> OfflineToken:
        url = f"{self._origin.format(shop=shop)}/admin/oauth/access_token"
        form = {**self._credentials, "grant_type": "refresh_token", "refresh_token": refresh_token}
        try:
            response = await self._http.post(url, data=form)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        if response.status_code in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise ShopifyUnauthorized(f"{shop}: the refresh token is not accepted; the app must be installed anew")
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise ShopifyUnavailable(f"{shop}: too many token requests")
        check_status(response)
        return self._read_token(read_object(response.content))

    def _read_token(self, body: dict[str, Any]) -> OfflineToken:
        try:
            lifetime = timedelta(seconds=int(body["expires_in"]))
            return OfflineToken(
                str(body["access_token"]), str(body["refresh_token"]), self.retry.clock.now() + lifetime
            )
        except (KeyError, TypeError, ValueError):
            raise ShopifyUnavailable("Shopify's token answer lacks a field") from None


def _unreachable(error: httpx.HTTPError) -> ShopifyUnavailable:
    return ShopifyUnavailable(f"Shopify could not be reached: {type(error).__name__} {error}".rstrip())
