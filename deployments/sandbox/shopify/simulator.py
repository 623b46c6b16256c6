"""All simulated shops, with their tokens and the tick that changes their stock."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deployments.sandbox.catalogue import DEMO_SHOPS, NEW_SHOP
from deployments.sandbox.shopify.credentials import Credentials
from deployments.sandbox.shopify.inventory import Inventory
from deployments.sandbox.shopify.rate_limit import LeakyBucket
from deployments.sandbox.shopify.shop import SimulatedShop

API_KEY = "wishcraft-sandbox"
API_SECRET = "wishcraft-sandbox-secret-of-more-than-32-bytes"  # noqa: S105  valid only for the simulator


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the simulator."""

    products: int = 160
    """Products per shop, with about two variants each."""
    seed: int = 2026
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


class Simulator:
    """The shops and their shared state."""

    def __init__(self, options: Options) -> None:
        self.api_key = options.api_key
        self.api_secret = options.api_secret
        self.hang_seconds = options.hang_seconds
        self.tick_seconds = options.tick_seconds
        self.credentials = Credentials(options.clock, options.state)
        self.shops = {
            demo.domain: SimulatedShop(
                demo,
                Inventory(demo, options.products, options.seed, options.clock),
                LeakyBucket(demo.points_per_second, options.clock, enabled=options.rate_limited),
                options.clock,
                options.bulk_seconds,
            )
            for demo in (*DEMO_SHOPS, NEW_SHOP)
        }

    async def run_ticks(self) -> None:
        """Change some variants of every shop each `tick_seconds`, forever."""
        while self.tick_seconds:
            await asyncio.sleep(self.tick_seconds)
            for shop in self.shops.values():
                shop.inventory.tick()
