"""Rate limiter: fixed windows, counted in this process and shared with the others through Redis once a second.

A request costs no command, and a limit is exceeded at most by what the processes admit between two exchanges. While
Redis does not answer, each process counts alone: limits fail open.
"""

import time
from typing import Final

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.domain.rate_limits import Policy, Verdict

_MAX_WINDOWS: Final = 100_000
"""Windows held at once; beyond that the oldest are dropped, and their callers get a new quota."""


class _Window:
    """A caller's requests in one window: `shared` by all processes as of the last exchange, and `own` since then."""

    __slots__ = ("begin", "ends", "own", "shared")

    def __init__(self, begin: int, ends: int) -> None:
        self.begin = begin
        self.ends = ends
        self.shared = 0
        self.own = 0


class Limiter:
    """The rate limiter of one process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._windows: dict[tuple[str, str], _Window] = {}

    def take(self, policy: Policy, caller: str) -> Verdict:
        """Count one request of the caller, unless it is refused."""
        now = int(time.time())
        window = self._windows.get((policy.name, caller))
        if window is None or window.ends <= now:
            window = self._begin(policy, caller, now)
        left = policy.quota - window.shared - window.own
        if left > 0:
            window.own += 1
        return Verdict(left > 0, max(0, left - 1), window.ends - now)

    async def share(self) -> None:
        """Add this process's counts to Redis, and read the totals of all processes.

        Raises:
            CacheUnavailable: Redis does not answer. The counts are kept for the next call.
        """
        now = time.time()
        self._windows = {name: window for name, window in self._windows.items() if window.ends > now}
        counts = [(name, window, window.own) for name, window in self._windows.items() if window.own]
        if not counts:
            return
        with self._server.guard():
            async with self._server.redis.pipeline(transaction=False) as pipe:
                for (policy, caller), window, own in counts:
                    key = keys.limit_key(policy, window.begin, caller)
                    pipe.incrby(key, own)
                    pipe.expireat(key, window.ends + 1)
                totals = (await pipe.execute())[::2]
        for (_, window, own), total in zip(counts, totals, strict=True):
            window.shared = total
            window.own -= own

    def _begin(self, policy: Policy, caller: str, now: int) -> _Window:
        begin = now - now % policy.seconds
        window = _Window(begin, begin + policy.seconds)
        if len(self._windows) >= _MAX_WINDOWS:
            del self._windows[next(iter(self._windows))]
        self._windows.pop((policy.name, caller), None)
        self._windows[policy.name, caller] = window
        return window
