"""Repeating what failed in passing. Which failure is passing is said by whoever raises `ShopifyUnavailable`."""

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from wishcraft.errors import ShopifyUnavailable
from wishcraft.shopify.pacing import Clock, backoff_cap

MOST_RETRIES: Final = 3
_log: Final = logging.getLogger(__name__)

Result = TypeVar("Result")
Jitter = Callable[[float, float], float]
"""Draws a number between two; `random.uniform` unless a test wants to know it beforehand."""


class Retry:
    """A few more attempts with full-jitter pauses between them."""

    def __init__(self, clock: Clock, jitter: Jitter = random.uniform) -> None:
        self.clock = clock
        self.jitter = jitter

    async def pause(self, attempt: int) -> None:
        """Wait after the given failed attempt (0 is the first)."""
        await self.clock.sleep(self.jitter(0.0, backoff_cap(attempt)))

    async def __call__(self, attempt_once: Callable[[], Awaitable[Result]]) -> Result:
        """What the first successful attempt returns.

        Raises:
            ShopifyUnavailable: Of the last attempt, after `MOST_RETRIES` more than one.
        """
        for attempt in range(MOST_RETRIES):
            try:
                return await attempt_once()
            except ShopifyUnavailable as error:
                _log.warning("%s; trying again (%d of %d)", error, attempt + 1, MOST_RETRIES)
                await self.pause(attempt)
        return await attempt_once()
