"""Keeps a Redis that is away from costing anything: the first failure opens, a probe in the background closes again.

While it is open, calls fail at once, so that a request spends its time on PostgreSQL instead of waiting.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Final

from wishcraft.errors import CacheUnavailable

PROBE_SECONDS: Final = 0.2
_log: Final = logging.getLogger(__name__)


class CircuitBreaker:
    """One for each server and event loop."""

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        """`probe` asks the server something; it raises CacheUnavailable if there is no answer."""
        self._probe = probe
        self._recovering: asyncio.Task[None] | None = None
        self._anew = False
        self._closed = False
        self.before_closing: Callable[[], Awaitable[object]] | None = None
        """Awaited when the server answers again, and before it is used again."""

    @property
    def is_open(self) -> bool:
        """Whether the server is taken for away."""
        return self._recovering is not None

    def check(self) -> None:
        """Raise CacheUnavailable if the server is taken for away; not for what is done before closing."""
        if self._recovering is not None and asyncio.current_task() is not self._recovering:
            raise CacheUnavailable("Redis did not answer a moment ago")

    def open(self) -> None:
        """Take the server for away until a probe has been answered, and all is done that has to be before it closes.

        If a recovery is under way, it begins anew.
        """
        self._anew = True
        if self._recovering is None:
            _log.warning("Redis does not answer; requests go to PostgreSQL until it does")
            # In a context of its own: it goes on for others than the request that noticed.
            self._recovering = asyncio.create_task(self._recover(), context=Context())

    async def close(self) -> None:
        """Stop probing."""
        self._closed = True
        if self._recovering is not None:
            self._recovering.cancel()
            with suppress(asyncio.CancelledError):
                await self._recovering

    async def _recover(self) -> None:
        # The first probe at once: it may have been this process that was too busy to hear the answer.
        while not self._closed:  # psycopg may swallow a cancellation, see `Tracker.run`
            with suppress(CacheUnavailable):
                while self._anew:
                    self._anew = False
                    await self._probe()
                    if self.before_closing:
                        await self.before_closing()
                self._recovering = None
                _log.warning("Redis answers again")
                return
            self._anew = True
            await asyncio.sleep(PROBE_SECONDS)
