"""The newest answer to one question, for however many ask: looked for by one at a time, and kept for a moment."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Final, Generic, TypeVar

LONGEST_SECONDS: Final = 5.0
"""A search that takes longer is given up, or what hangs would be waited for after all else is well again."""

T = TypeVar("T")


class SingleFlightCache(Generic[T]):
    """One for each question and event loop. Who gives up waiting leaves the search to the others."""

    def __init__(self, find: Callable[[], Awaitable[T]], seconds: float) -> None:
        """What `find` finds is good for `seconds`."""
        self._find = find
        self._seconds = seconds
        self._until = 0.0
        self._finding: asyncio.Task[T] | None = None
        self.known: T | None = None
        """What was found last, however old; None before."""

    async def get(self) -> T:
        """What is known if it is still good, else what is found now.

        Raises whatever `find` raises, and TimeoutError after `LONGEST_SECONDS`.
        """
        if self.known is not None and time.monotonic() < self._until:
            return self.known
        return await asyncio.shield(self._begin())

    async def within(self, patience: float) -> T | None:
        """What is known after `patience` seconds at most, be it no longer good; None if nothing was ever found."""
        with suppress(Exception):  # whatever it is, it is no reason to know less than before
            async with asyncio.timeout(patience):
                await self.get()
        return self.known

    async def close(self) -> None:
        """End a search that is under way."""
        if self._finding is not None:
            self._finding.cancel()
            await asyncio.wait({self._finding})

    def _begin(self) -> asyncio.Task[T]:
        if self._finding is None:
            self._finding = asyncio.create_task(self._look(), context=Context())
            self._finding.add_done_callback(self._end)
        return self._finding

    async def _look(self) -> T:
        async with asyncio.timeout(LONGEST_SECONDS):
            self.known = found = await self._find()
        self._until = time.monotonic() + self._seconds
        return found

    def _end(self, finding: asyncio.Task[T]) -> None:
        self._finding = None
        if not finding.cancelled():
            finding.exception()  # seen, though nobody may have waited for it
