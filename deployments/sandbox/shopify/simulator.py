"""All simulated shops, with their tokens, the tick that changes their stock, their guests and their webhooks."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from deployments.sandbox.catalogue import DEMO_SHOPS, NEW_SHOP
from deployments.sandbox.shopify.app_proxy import AppProxy
from deployments.sandbox.shopify.credentials import Credentials
from deployments.sandbox.shopify.inventory import Inventory
from deployments.sandbox.shopify.rate_limit import LeakyBucket
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.shopping import Shopping
from deployments.sandbox.shopify.webhooks import AT_ONCE, Habits, WebhookSender

API_KEY = "wishcraft-sandbox"
API_SECRET = "wishcraft-sandbox-secret-of-more-than-32-bytes"  # noqa: S105  valid only for the simulator


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the simulator."""

    products: int = 160
    """Products per shop, with about two variants each."""
    seed: int = 2026
    has_store: bool = False
    """Whether shops have a second location."""
    rate_limited: bool = True
    tick_seconds: float | None = None
    """Seconds between changes of stock; None: no changes."""
    state: Path | None = None
    """File that keeps the issued tokens."""
    api_key: str = API_KEY
    api_secret: str = API_SECRET
    bulk_seconds: float = 0.0
    """Delay before a bulk operation runs."""
    hang_seconds: float = 60.0
    """Delay of the timeout fault."""
    clock: Callable[[], float] = time.time
    """Returns epoch seconds."""
    own_url: str = "http://127.0.0.1"
    """URL of the simulator, for the images in webhooks."""
    app_url: str | None = None
    """URL of the app, to which webhooks and browsers' requests go; None: no webhooks, and no guests."""
    app_transport: httpx.AsyncBaseTransport | None = None
    """Leads to the app in the same process."""
    actions_per_minute: float = 0.0
    """How many things the guests of all shops do."""
    habits: Habits = field(default_factory=Habits)


class Simulator:
    """The shops and their shared state."""

    def __init__(self, options: Options) -> None:
        self.api_key = options.api_key
        self.api_secret = options.api_secret
        self.hang_seconds = options.hang_seconds
        self.tick_seconds = options.tick_seconds
        self.proxy: AppProxy | None = None
        self.shopping: Shopping | None = None
        self._options = options
        generator = random.Random(f"webhooks:{options.seed}")  # noqa: S311  demo data
        self.webhooks = WebhookSender(options.api_secret, options.clock, generator, options.habits)
        self.credentials = Credentials(options.clock, options.state)
        self.shops = {
            demo.domain: SimulatedShop(
                demo,
                Inventory(demo, options.products, options.seed, options.clock, has_store=options.has_store),
                LeakyBucket(demo.points_per_second, options.clock, enabled=options.rate_limited),
                options.clock,
                options.bulk_seconds,
                partial(self.publish, demo.domain),
                f"{options.own_url}/{demo.domain}",
            )
            for demo in (*DEMO_SHOPS, NEW_SHOP)
        }

    def publish(self, shop: str, topic: str, payload: dict[str, Any], description: str) -> None:
        """Send a webhook of the shop, if it has the app."""
        if self.credentials.is_installed(shop):
            self.webhooks.publish(shop, topic, payload, description)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Change stock, shop and send webhooks until the exit."""
        tasks = [asyncio.create_task(self.run_ticks())]
        async with self._connection() as http:
            if http is not None:
                self.webhooks.http = http
                self.proxy = AppProxy(http, self._options.api_secret, self._options.clock)
                options = self._options
                self.shopping = Shopping(
                    self.shops, self.credentials.is_installed, self.proxy, options.seed, options.actions_per_minute
                )
                tasks.append(asyncio.create_task(self.shopping.run()))
            yield
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            await self.webhooks.close()
            self.webhooks.http = self.proxy = self.shopping = None

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[httpx.AsyncClient | None]:
        options = self._options
        if options.app_url is None:
            yield None
            return
        limits = httpx.Limits(max_connections=2 * AT_ONCE)
        async with httpx.AsyncClient(
            base_url=options.app_url, transport=options.app_transport, limits=limits, trust_env=False
        ) as http:
            yield http

    async def run_ticks(self) -> None:
        """Change some variants of every shop each `tick_seconds`, forever."""
        while self.tick_seconds:
            await asyncio.sleep(self.tick_seconds)
            for shop in self.shops.values():
                shop.inventory.tick()
