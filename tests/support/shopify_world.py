"""The Shopify client against the simulator, on a clock that no test has to wait for."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Final

import httpx

from deployments.sandbox.catalogue import DEMO_SHOPS
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import API_KEY, API_SECRET, Simulator
from wishcraft.domain.tokens import OfflineToken
from wishcraft.errors import ShopifyUnauthorized
from wishcraft.shopify.client import Count, ShopifyClient, count_nothing

SHOP: Final = DEMO_SHOPS[0].domain
START: Final = 1_790_000_000.0
TURNS: Final = 50
"""Turns of the event loop: enough for every task that is awake to run until it sleeps."""


class FakeClock:
    """A clock that advances only when all tasks sleep; simulator and client share it."""

    def __init__(self) -> None:
        self.epoch = START
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, int]] = []

    def __call__(self) -> float:
        return self.epoch

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.epoch, UTC)

    def monotonic(self) -> float:
        return self.epoch

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        mine = (self.epoch + seconds, len(self.slept))
        heappush(self._sleepers, mine)
        turns = 0
        while turns < TURNS:
            await asyncio.sleep(0)
            turns = turns + 1 if self._sleepers[0] == mine else 0
        heappop(self._sleepers)
        self.epoch = max(self.epoch, mine[0])


class MemoryTokens:
    """A token store that the clients of one test share, as processes share PostgreSQL."""

    def __init__(self) -> None:
        self.tokens = {demo.domain: OfflineToken(demo.access_token, demo.refresh_token) for demo in DEMO_SHOPS}
        self.saved: list[OfflineToken] = []
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def load(self, shop: str) -> OfflineToken:
        await asyncio.sleep(0)  # other tasks run here, as during a query
        if shop not in self.tokens:
            raise ShopifyUnauthorized(f"{shop} has no token")
        return self.tokens[shop]

    async def save(self, shop: str, token: OfflineToken) -> None:
        await asyncio.sleep(0)
        stored = self.tokens[shop]
        if stored.expires_at is None or (token.expires_at and stored.expires_at <= token.expires_at):
            self.tokens[shop] = token
            self.saved.append(token)

    async def discard(self, shop: str, token: OfflineToken) -> None:
        await asyncio.sleep(0)
        if self.tokens[shop].expires_at == token.expires_at:
            del self.tokens[shop]

    @asynccontextmanager
    async def refresh_lock(self, shop: str) -> AsyncIterator[None]:
        async with self._locks[shop]:
            yield


class World:
    """A simulator, a clock, a token store, and their clients."""

    def __init__(self, http: httpx.AsyncClient, simulator: Simulator, clock: FakeClock) -> None:
        self.http = http
        self.simulator = simulator
        self.clock = clock
        self.tokens = MemoryTokens()
        self.client = self.another_client()

    @property
    def shop(self) -> SimulatedShop:
        return self.simulator.shops[SHOP]

    def ids(self, count: int = 250) -> list[int]:
        return self.shop.inventory.variant_ids()[:count]

    def another_client(
        self,
        *,
        api_version: str = "2026-10",
        api_secret: str = API_SECRET,
        jitter: Callable[[float, float], float] = lambda _, cap: cap,
        count: Count = count_nothing,
    ) -> ShopifyClient:
        """By default the jitter is the longest pause, so that pauses are predictable."""
        return ShopifyClient(
            self.http,
            self.tokens,
            origin="http://127.0.0.1/{shop}",
            api_version=api_version,
            api_key=API_KEY,
            api_secret=api_secret,
            clock=self.clock,
            jitter=jitter,
            count=count,
        )
