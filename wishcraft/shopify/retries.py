"""Retry policy of Shopify requests: `ShopifyUnavailable` is transient, every other error is final."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from wishcraft.errors import ShopifyUnavailable
from wishcraft.shopify.pacing import Clock, backoff_cap

MAX_RETRIES: Final = 3
_log: Final = logging.getLogger(__name__)

Result = TypeVar("Result")
Jitter = Callable[[float, float], float]
"""Draws a random number between two limits, as `random.uniform` does; tests pass a fixed one."""

OnPause = Callable[[float], None]


def ignore(_seconds: float) -> None:
    """Do nothing about a pause."""


class Retry:
    """Up to `MAX_RETRIES` further attempts, with full-jitter backoff."""

    def __init__(self, clock: Clock, jitter: Jitter) -> None:
        self.clock = clock
        self.jitter = jitter

    async def pause(self, attempt: int, on_pause: OnPause = ignore) -> None:
        """Wait after failed attempt number `attempt` (0 is the first); `on_pause` is called with the seconds before."""
        seconds = self.jitter(0.0, backoff_cap(attempt))
        on_pause(seconds)
        await self.clock.sleep(seconds)

    async def __call__(self, send_once: Callable[[], Awaitable[Result]], on_pause: OnPause = ignore) -> Result:
        """The result of the first successful attempt; `on_pause` is called before each pause with its seconds.

        Raises:
            ShopifyUnavailable: The error of the last attempt, after `MAX_RETRIES` retries.
        """
        for attempt in range(MAX_RETRIES):
            try:
                return await send_once()
            except ShopifyUnavailable as error:
                _log.warning("%s; trying again (%d of %d)", error, attempt + 1, MAX_RETRIES)
                await self.pause(attempt, on_pause)
        return await send_once()
