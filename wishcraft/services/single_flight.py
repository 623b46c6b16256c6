"""Cache of one loaded value: concurrent callers share one load, and its result is kept for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Final, Generic, TypeVar

LOAD_TIMEOUT_SECONDS: Final = 5.0
"""A load that takes longer is cancelled: all callers would wait for one connection that hangs, even after recovery."""

T = TypeVar("T")


class SingleFlightCache(Generic[T]):
    """A value with a time to live and at most one load at a time. Use it on one event loop only.

    A caller that is cancelled while it waits does not cancel the load.
    """

    def __init__(self, load: Callable[[], Awaitable[T]], ttl: float) -> None:
        """Load with `load`; a result is fresh for `ttl` seconds, and 0 shares only loads that are running."""
        self._load = load
        self._ttl = ttl
        self._expires_at = 0.0
        self._task: asyncio.Task[T] | None = None
        self.value: T | None = None
        """The last result, however old; None before the first."""
        self._error: BaseException | None = None
        """Why the last load failed; None if it did not."""

    async def get(self) -> T:
        """Return the value if it is fresh, otherwise load it or join the running load.

        Raises:
            TimeoutError: The load took longer than `LOAD_TIMEOUT_SECONDS`.
            Exception: What `load` raises.
        """
        if self.value is not None and time.monotonic() < self._expires_at:
            return self.value
        return await asyncio.shield(self._start())

    async def get_within(self, seconds: float) -> T | None:
        """Return the value after `seconds` at most, stale if the load fails or takes longer; None if there is none."""
        with suppress(Exception):  # after any failure, the last value is better than none
            async with asyncio.timeout(seconds):
                await self.get()
        return self.value

    async def get_latest(self, seconds: float) -> T | None:
        """Return what a load finds or, while it takes longer than `seconds`, what the one before it found.

        None before the first has ended.

        Raises:
            TimeoutError: That load took longer than `LOAD_TIMEOUT_SECONDS`.
            Exception: What it raised.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self.get()
        if self._error is not None:
            raise self._error
        return self.value

    async def close(self) -> None:
        """Cancel a running load, and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _start(self) -> asyncio.Task[T]:
        if self._task is None:
            self._task = asyncio.create_task(self._run_load(), context=Context())  # of no caller's log context
            self._task.add_done_callback(self._finish)
        return self._task

    async def _run_load(self) -> T:
        async with asyncio.timeout(LOAD_TIMEOUT_SECONDS):
            self.value = value = await self._load()
        self._expires_at = time.monotonic() + self._ttl
        return value

    def _finish(self, task: asyncio.Task[T]) -> None:
        self._task = None
        if not task.cancelled():
            self._error = task.exception()  # also marks it as retrieved: without callers, asyncio would log it
