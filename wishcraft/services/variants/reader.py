"""Reads the facts of variants through their cache: Shopify is asked for what is not known or no longer fresh."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple

from wishcraft.cache.registries import CacheState
from wishcraft.domain.callers import Caller
from wishcraft.domain.rate_limits import SERVER_FACTOR, Policy
from wishcraft.domain.variants import VariantFacts, VariantImage, is_complete, is_fresh
from wishcraft.errors import (
    CacheUnavailable,
    ShopifyPaused,
    ShopifyRefused,
    ShopifyThrottled,
    ShopifyUnavailable,
    TooManyQueries,
    TransientError,
)
from wishcraft.resources import Resources
from wishcraft.shopify.pauses import Pauses
from wishcraft.shopify.variants import describe_variants
from wishcraft.store import shops

QUERIES: Final = Policy("products", 60, 60)
SERVER_QUERIES: Final = Policy("products-server", SERVER_FACTOR * QUERIES.quota, QUERIES.seconds)
"""Queries to Shopify that a caller may cause: made-up ids would use up the points that the shop's jobs need."""

VariantFactsById = Mapping[int, VariantFacts]


class FoundVariantFacts(NamedTuple):
    """The facts of variants by id, and how they were found."""

    facts: VariantFactsById
    """Without the variants whose values in Shopify cannot be stored."""
    state: CacheState
    """MISS and BYPASS: Shopify was asked for some. STALE: it did not answer, and some are no longer fresh."""


@dataclass(frozen=True, slots=True)
class VariantLimits:
    """How long a caller waits for Shopify, and how many queries it may cause."""

    shopify_seconds: float = 5.0
    queries: Policy = QUERIES
    server_queries: Policy = SERVER_QUERIES


class VariantReader:
    """Read-through with single flight: a process asks Shopify once for a variant that many callers wait for."""

    def __init__(
        self, resources: Resources, pauses: Pauses | None = None, limits: VariantLimits = VariantLimits()
    ) -> None:
        self._resources = resources
        self._pauses = pauses or Pauses(limits.shopify_seconds)
        self.limits = limits
        self._queries: dict[tuple[int, int], asyncio.Task[VariantFactsById]] = {}
        """The query under way for a shop's variant."""

    async def read(self, caller: Caller, variant_ids: Sequence[int], *, any_image: bool = False) -> FoundVariantFacts:
        """The facts of these distinct variants of the caller's shop, at most `MAX_DESCRIBED`.

        Shopify gets one query at most. If it fails or is refused, facts that are no longer fresh are used, if there are
        any for all. With `any_image`, images of any age count as fresh.

        Raises:
            TooManyQueries: The caller has caused too many queries.
            ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: Shopify gave no usable answer in time, or is not asked
                for some seconds, because it gave none before (ShopifyPaused).
            DatabaseUnavailable: PostgreSQL, which has the shop's token, does not answer.
        """
        known, miss = await self._read_cached(caller.shop_id, variant_ids)
        now = datetime.now(UTC)
        fresh = {number: facts for number, facts in known.items() if is_fresh(facts, now, any_image=any_image)}
        due = [number for number in variant_ids if number not in fresh]
        self._count(CacheState.HIT, len(fresh))
        if not due:
            return FoundVariantFacts(fresh, CacheState.HIT)
        try:
            found = await self._query(caller, due)
        except (TransientError, ShopifyRefused, TooManyQueries):
            if not all(number in known and is_complete(known[number]) for number in due):
                raise
            self._count(CacheState.STALE, len(due))
            return FoundVariantFacts(known, CacheState.STALE)
        self._count(miss, len(due))
        return FoundVariantFacts(fresh | found, miss)

    async def _read_cached(
        self, shop_id: int, variant_ids: Sequence[int]
    ) -> tuple[dict[int, VariantFacts], CacheState]:
        """The variant facts in Redis, and the `X-Cache` state of an answer that needs more than them."""
        try:
            return await self._resources.variants.get(shop_id, variant_ids), CacheState.MISS
        except CacheUnavailable:
            return {}, CacheState.BYPASS

    async def _query(self, caller: Caller, due: Sequence[int]) -> dict[int, VariantFacts]:
        """Join the queries that are under way for some of these variants, and start one for the others."""
        shop_id = caller.shop_id
        if others := [number for number in due if (shop_id, number) not in self._queries]:
            self._check_pause(shop_id)
            policy = self.limits.server_queries if caller.is_server else self.limits.queries
            verdict = self._resources.limiter.take(policy, caller.name)
            if not verdict.allowed:
                raise TooManyQueries("Too many products that were not known. Wait for Retry-After.", verdict.reset)
            started_at = self._pauses.begin_query(shop_id)
            # A task of its own: a caller that is cancelled must not take it from the others.
            query = asyncio.create_task(self._ask(shop_id, others, started_at), context=Context())
            self._queries |= dict.fromkeys([(shop_id, number) for number in others], query)
            query.add_done_callback(partial(self._discard_query, shop_id, others))
        queries = dict.fromkeys(self._queries[shop_id, number] for number in due)
        answers = [await asyncio.shield(query) for query in queries]
        return {number: answer[number] for number in due for answer in answers if number in answer}

    def _check_pause(self, shop_id: int) -> None:
        try:
            self._pauses.check(shop_id)
        except ShopifyPaused:
            self._resources.counters.count("shopify_paused_total")
            raise

    async def _ask(self, shop_id: int, variant_ids: Sequence[int], started_at: float) -> VariantFactsById:
        try:
            facts = await ask_shopify(self._resources, shop_id, variant_ids, self.limits.shopify_seconds)
        except ShopifyUnavailable:
            self._pauses.failed(shop_id, started_at)
            raise
        except (ShopifyThrottled, ShopifyRefused):
            self._pauses.succeeded(shop_id)
            raise
        self._pauses.succeeded(shop_id)
        return facts

    def _discard_query(self, shop_id: int, variant_ids: Sequence[int], query: "asyncio.Task[VariantFactsById]") -> None:
        for number in variant_ids:
            del self._queries[shop_id, number]
        if not query.cancelled():
            query.exception()  # marks it as retrieved: the callers got it, or have gone

    def _count(self, state: CacheState, variants: int) -> None:
        if variants:
            self._resources.counters.count("product_reads_total", variants, state=state.value)


async def ask_shopify(
    resources: Resources, shop_id: int, variant_ids: Sequence[int], seconds: float
) -> VariantFactsById:
    """The facts of these variants as Shopify has them within `seconds`, which are stored in Redis if it answers."""
    era = b""
    with suppress(CacheUnavailable):
        era = await resources.variants.current_era()
    async with resources.db.autocommit() as session:
        shop = await shops.find_one(session, shop_id)
    asked_at = datetime.now(UTC)
    try:
        async with asyncio.timeout(seconds):
            described = await describe_variants(resources.shopify, shop.domain, variant_ids)
    except TimeoutError:
        raise ShopifyUnavailable(f"{shop.domain}: Shopify did not answer within {seconds:g} s") from None
    facts = {
        number: VariantFacts(each[0], asked_at, VariantImage(each[1], asked_at))
        if each
        else VariantFacts(None, asked_at)
        for number, each in described.items()
    }
    with suppress(CacheUnavailable):
        await resources.variants.store(shop_id, era, facts, shop.settings.cache_quota)
    return facts
