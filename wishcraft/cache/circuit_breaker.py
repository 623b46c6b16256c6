"""Circuit breaker for Redis: a failure opens it, and a probe in the background that succeeds closes it.

While it is open, commands fail at once, so that a request spends its time on PostgreSQL instead of on a timeout.
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
    """The breaker of one server, used on one event loop."""

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        """`probe` runs a command; it raises CacheUnavailable if the server does not answer."""
        self._probe = probe
        self._recovery: asyncio.Task[None] | None = None
        self._is_stopped = False

    @property
    def is_open(self) -> bool:
        """Whether commands are refused."""
        return self._recovery is not None

    def check(self) -> None:
        """Raise CacheUnavailable if the breaker is open."""
        if self._recovery is not None:
            raise CacheUnavailable("Redis did not answer a moment ago")

    def open(self, cause: object) -> None:
        """Refuse commands until a probe has succeeded; `cause` is for the log."""
        if self._recovery is None:
            _log.warning("Redis does not answer; requests go to PostgreSQL until it does: %s", cause)
            # A context of its own: the recovery outlives the request that noticed the failure.
            self._recovery = asyncio.create_task(self._recover(), context=Context())

    async def stop(self) -> None:
        """End the probes."""
        self._is_stopped = True
        if self._recovery is not None:
            self._recovery.cancel()
            with suppress(asyncio.CancelledError):
                await self._recovery

    async def _recover(self) -> None:
        # The first probe comes at once: this process may have been too busy to read the reply.
        while not self._is_stopped:  # psycopg may swallow a cancellation, see `TrafficRecorder.run`
            try:
                await self._probe()
            except CacheUnavailable:
                pass
            except Exception:  # noqa: BLE001  it is logged, and an ended recovery would leave the breaker open for good
                _log.exception("The probe of Redis failed; it is tried again")
            else:
                self._recovery = None
                _log.warning("Redis answers again")
                return
            await asyncio.sleep(PROBE_SECONDS)
