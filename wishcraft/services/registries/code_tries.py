"""Limits on tries of access codes: they slow down guessers, and close a registry to no guest.

Each sender has ten tries in ten minutes for a registry, right ones included. Once many wrong codes were tried for it
from anywhere, a sender of a wrong one waits before the next try, the longer the more there were, and each try pauses.
A sender without a wrong code is never refused because of others: a limit on all tries for a registry would be a way to
close it. For the same reason no try pauses while `MAX_PAUSED` tries do.
"""

import hashlib
from asyncio import Lock, sleep
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from wishcraft.cache.rate_limiter import Limiter
from wishcraft.domain.access_codes import WRONG_CODES, Slowdown, slowdown
from wishcraft.domain.rate_limits import SERVER_FACTOR, Policy
from wishcraft.errors import TooManyTries
from wishcraft.services.registries.code_hashes import MAX_OF_REGISTRY, MAX_OF_SENDER, Shares

TRIES: Final = Policy("unlock", 10, 600)
SERVER_TRIES: Final = Policy("unlock-server", SERVER_FACTOR * TRIES.quota, TRIES.seconds)
MAX_PAUSED: Final = 50
_paused: Final = set[object]()
_locks: Final = WeakValueDictionary[str, Lock]()
"""By registry and sender, while a slowed try of theirs is under way."""


def name_for_tries(shop_id: int, slug: str) -> str:
    """Name of a registry in the counters of tries: a hash, so that Redis keeps no slug of a deleted one."""
    return hashlib.sha256(f"{shop_id}:{slug}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CodeTries:
    """The tries of one sender for one registry.

    The counts of all processes are exchanged at every try, as each costs a hash of 20 ms anyway.
    """

    limiter: Limiter
    registry: str
    """Its `name_for_tries`."""
    senders: Sequence[str]
    """By what the sender is known: each is counted, and one over its limit is enough."""
    is_server: bool

    @property
    def shares(self) -> Shares:
        """The shares that a hash of this try takes."""
        of_sender = MAX_OF_REGISTRY if self.is_server else MAX_OF_SENDER
        return {self.registry: MAX_OF_REGISTRY, **dict.fromkeys(self.senders, of_sender)}

    @asynccontextmanager
    async def count(self) -> AsyncIterator[None]:
        """Count one try, which the block verifies.

        Slowed tries of one sender follow each other: otherwise those sent at once would not wait for a wrong one.

        Raises:
            TooManyTries: It is one too many, or it comes too soon after a wrong one.
        """
        tries = self._counted(SERVER_TRIES if self.is_server else TRIES)
        for policy, sender in tries:  # the first that is over the limit takes nothing from the others
            verdict = self.limiter.take(policy, sender)
            if not verdict.allowed:
                raise _refused(verdict.reset)
        *own, wrong = await self.limiter.exchange(*tries, (WRONG_CODES, self.registry))
        if late := [verdict.reset for verdict in own if not verdict.allowed]:
            raise _refused(max(late))
        async with AsyncExitStack() as locks:
            if slow := self._slowdown(WRONG_CODES.quota - wrong.remaining):
                for _, sender in sorted(tries):
                    await locks.enter_async_context(_locks.setdefault(sender, Lock()))
                waits = await self.limiter.exchange(*self._counted(slow.wait))
                if early := [verdict.reset for verdict in waits if not verdict.remaining]:
                    raise _refused(max(early))
                await _pause(slow.pause_seconds)
            yield

    async def record_wrong(self) -> None:
        """Count that the code was wrong."""
        slow = self._slowdown(WRONG_CODES.quota - self.limiter.take(WRONG_CODES, self.registry).remaining)
        waits = self._counted(slow.wait) if slow else []
        for policy, sender in waits:
            self.limiter.take(policy, sender)
        await self.limiter.exchange((WRONG_CODES, self.registry), *waits)

    def _slowdown(self, wrong_codes: int) -> Slowdown | None:
        """The slowdown of this sender. A server has none: its guests would wait for others' wrong codes."""
        return None if self.is_server else slowdown(wrong_codes)

    def _counted(self, policy: Policy) -> list[tuple[Policy, str]]:
        return [(policy, f"{self.registry}:{sender}") for sender in self.senders]


async def _pause(seconds: float) -> None:
    if len(_paused) >= MAX_PAUSED:
        return
    token = object()
    _paused.add(token)
    try:
        await sleep(seconds)
    finally:
        _paused.discard(token)


def _refused(seconds: int) -> TooManyTries:
    return TooManyTries("The access code was tried too often: wait before the next try.", seconds)
