"""Rate limiter: fixed windows, counted in this process and shared with the others through Redis once a second.

A request costs no command, and a limit is exceeded at most by what the processes admit between two exchanges. Where
that is too much, `exchange` shares at once. While Redis does not answer, each process counts alone.
"""

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from wishcraft.cache import keys, scripts
from wishcraft.cache.client import Server
from wishcraft.cache.lua import Call
from wishcraft.domain.batches import batches
from wishcraft.domain.rate_limits import Policy, Verdict
from wishcraft.errors import CacheUnavailable

_MAX_WINDOWS: Final = 100_000
"""Windows of a policy held at once; beyond that the oldest are dropped, and their callers get a new quota."""


_DROPPED_AT_ONCE: Final = 10_000
"""Windows of a policy that have ended: all of a minute end together, and this many take some milliseconds to drop."""
_WINDOWS_PER_COMMAND: Final = 50
"""Nearly every guest is a caller of their own: the counts of a second take many short commands, not a long pause."""


class _Window:
    """A caller's requests in one window: `shared` by all processes as of the last exchange, and `own` since then."""

    __slots__ = ("begin", "ends", "own", "sent", "shared")

    def __init__(self, begin: int, ends: int) -> None:
        self.begin = begin
        self.ends = ends
        self.shared = 0
        self.own = 0
        self.sent = 0
        """Own ones that an exchange is adding to Redis."""

    @property
    def is_unshared(self) -> bool:
        """Whether it has requests that Redis may not have: an exchange that is under way may fail."""
        return bool(self.own or self.sent)

    def is_open(self, now: int) -> bool:
        """Whether it has begun, which it has not if the clock was set back, and has not ended."""
        return self.begin <= now < self.ends


_Named = tuple[tuple[str, str], _Window]


class Limiter:
    """The rate limiter of one process."""

    def __init__(self, server: Server, *, max_windows: int = _MAX_WINDOWS) -> None:
        self._server = server
        self._max_windows = max_windows
        self._windows: defaultdict[str, OrderedDict[str, _Window]] = defaultdict(OrderedDict)
        """By policy and caller, in the order in which they begin, and so end: all of a policy are equally long."""
        self._counted: dict[tuple[str, str], _Window] = {}
        """Those with own requests. To look for them among all would cost a process more than to answer requests."""
        self._exchanging = asyncio.Lock()
        """Two exchanges at once would count each other's requests twice."""

    def take(self, policy: Policy, caller: str, number: int = 1) -> Verdict:
        """Count one request of the caller, or this number of what it has, unless it is refused."""
        remaining, reset = self.count(policy, caller, number)
        return Verdict(remaining >= 0, max(0, remaining), reset)

    def count(self, policy: Policy, caller: str, number: int = 1) -> tuple[int, int]:
        """As `take`: what then remains of the quota, -1 if the request is refused; and the seconds until it resets.

        Each read is counted, and to make a `Verdict` takes half as long again.
        """
        now = int(time.time())
        window = self._windows[policy.name].get(caller)
        if window is None or not window.begin <= now < window.ends:  # as `is_open`, without a call for each read
            window = self._begin(policy, caller, now)
        reset = window.ends - now
        remaining = policy.quota - window.shared - window.sent - window.own - number
        if remaining < 0:
            return -1, reset
        if not window.own:
            self._counted[policy.name, caller] = window
        window.own += number
        return remaining, reset

    def peek(self, policy: Policy, caller: str) -> Verdict:
        """Whether `take` would refuse, without counting."""
        now = int(time.time())
        window = self._windows[policy.name].get(caller)
        if window is None or not window.is_open(now):
            return Verdict(policy.quota > 0, policy.quota, policy.seconds - now % policy.seconds)
        left = max(0, policy.quota - window.shared - window.sent - window.own)
        return Verdict(left > 0, left, window.ends - now)

    async def exchange(self, *counted: tuple[Policy, str]) -> list[Verdict]:
        """Share these callers' counts at once, and say which quotas all processes together have not exceeded.

        Of this process alone while Redis does not answer.
        """
        now = int(time.time())
        windows = {(policy.name, caller): self._find(policy, caller, now) for policy, caller in counted}
        with suppress(CacheUnavailable):
            await self._send(list(windows.items()))
        verdicts = []
        for (policy, _), window in zip(counted, windows.values(), strict=True):
            left = policy.quota - window.shared - window.sent - window.own
            verdicts.append(Verdict(left >= 0, max(0, left), window.ends - now))
        return verdicts

    async def share(self) -> None:
        """Add this process's counts to Redis, and read the totals of all processes.

        Raises:
            CacheUnavailable: Redis does not answer. The counts are kept for the next call.
        """
        now = int(time.time())
        for windows in self._windows.values():
            for _ in range(min(len(windows), _DROPPED_AT_ONCE)):
                if next(iter(windows.values())).is_open(now):
                    break
                windows.popitem(last=False)
        counted = [
            (name, window) for name, window in self._counted.items() if window.is_unshared and window.is_open(now)
        ]
        self._counted = {}
        try:
            await self._send(counted)
        except BaseException:
            self._counted = {name: window for name, window in counted if window.is_unshared} | self._counted
            raise

    async def _send(self, windows: Sequence[_Named]) -> None:
        for batch in batches(windows, _WINDOWS_PER_COMMAND):
            async with self._exchanging:
                for _, window in batch:
                    window.own, window.sent = 0, window.own
                try:
                    totals = await self._add(batch)
                except BaseException:  # a cancelled request too
                    for _, window in batch:
                        window.own, window.sent = window.own + window.sent, 0
                    raise
                for (_, window), total in zip(batch, totals, strict=True):
                    # Redis has less than this process knows of if it has lost its data.
                    window.shared, window.sent = max(int(total), window.shared + window.sent), 0

    async def _add(self, windows: Sequence[_Named]) -> list[bytes]:
        now = int(time.time())
        calls: list[Call] = [
            {
                "counter": keys.limit_key(policy, window.begin, caller),
                "sent": window.sent,
                "ttl_seconds": max(1, window.ends + 1 - now),  # not a time: Redis has a clock of its own
            }
            for (policy, caller), window in windows
        ]
        return await self._server.run(scripts.ADD_REQUESTS, calls)

    def _find(self, policy: Policy, caller: str, now: int) -> _Window:
        window = self._windows[policy.name].get(caller)
        return window if window and window.is_open(now) else self._begin(policy, caller, now)

    def _begin(self, policy: Policy, caller: str, now: int) -> _Window:
        windows, begin = self._windows[policy.name], now - now % policy.seconds
        if len(windows) >= self._max_windows:
            dropped, _ = windows.popitem(last=False)
            self._counted.pop((policy.name, dropped), None)
        windows.pop(caller, None)
        windows[caller] = window = _Window(begin, begin + policy.seconds)
        return window
