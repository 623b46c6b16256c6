"""Rate limits: counted in this process, and shared with the others through Redis once a second.

So a request costs no command, and a limit is exceeded at most by what the processes let through between two exchanges.
While Redis is away each process counts for itself: limits fail open, not shut.
"""

import time
from typing import Final

from wishcraft.cache import keys
from wishcraft.cache.client import Server
from wishcraft.domain.rate_limits import Policy, Verdict

_MOST_WINDOWS: Final = 100_000
"""Windows held at once; past it the ones that began first are forgotten, which lets their callers begin anew."""


class _Window:
    """What one caller has used of one window: `shared` is what all processes had used when last asked."""

    __slots__ = ("begin", "ends", "own", "shared")

    def __init__(self, begin: int, ends: int) -> None:
        self.begin = begin
        self.ends = ends
        self.shared = 0
        self.own = 0


class Limiter:
    """One for each process."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._windows: dict[tuple[str, str], _Window] = {}

    def take(self, policy: Policy, caller: str) -> Verdict:
        """Count one request of the caller; a refused one counts for nothing."""
        now = int(time.time())
        window = self._windows.get((policy.name, caller))
        if window is None or window.ends <= now:
            window = self._begin(policy, caller, now)
        left = policy.quota - window.shared - window.own
        if left > 0:
            window.own += 1
        return Verdict(left > 0, max(0, left - 1), window.ends - now)

    async def share(self) -> None:
        """Tell the other processes what this one has counted, and learn what they have.

        Raises:
            CacheUnavailable: Redis does not answer; nothing is lost, the next call tells it.
        """
        now = time.time()
        self._windows = {name: each for name, each in self._windows.items() if each.ends > now}
        counted = [(name, each, each.own) for name, each in self._windows.items() if each.own]
        if not counted:
            return
        with self._server.answering():
            async with self._server.redis.pipeline(transaction=False) as pipe:
                for (policy, caller), window, own in counted:
                    key = keys.limit_key(policy, window.begin, caller)
                    pipe.incrby(key, own)
                    pipe.expireat(key, window.ends + 1)
                totals = (await pipe.execute())[::2]
        for (_, window, own), total in zip(counted, totals, strict=True):
            window.shared = total
            window.own -= own

    def _begin(self, policy: Policy, caller: str, now: int) -> _Window:
        begin = now - now % policy.seconds
        window = _Window(begin, begin + policy.seconds)
        if len(self._windows) >= _MOST_WINDOWS:
            del self._windows[next(iter(self._windows))]
        self._windows.pop((policy.name, caller), None)
        self._windows[policy.name, caller] = window
        return window
