"""The permit to answer from Redis: PostgreSQL has said, less than a second ago, which invalidations are pending.

A writer that cannot invalidate announces it in PostgreSQL, in a transaction of its own, and waits until every permit
from before has expired. Only then it commits. So no process has to be notified, and none can miss it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from enum import Enum, auto
from math import inf
from typing import Final, NamedTuple

PERMIT_SECONDS: Final = 1.0
"""How long a permit is valid, from the moment at which PostgreSQL was asked."""
RENEW_SECONDS: Final = 0.2
"""The pause between two renewals."""
ANSWER_SECONDS: Final = 1.0
_AWAITED_QUESTIONS: Final = 2
"""The first question may have been asked before the reader arrived, so a second is awaited."""
MAX_QUESTIONS: Final = 3
"""At most this many may hang, each on a connection of its own."""
_log: Final = logging.getLogger(__name__)

Pending = frozenset[tuple[int, str]]
"""Shop ids and slugs of registries whose entries in Redis may be outdated."""


class Trust(Enum):
    """Whether an entry in Redis may be used."""

    CURRENT = auto()
    """No invalidation is pending: the entry has the last acknowledged change."""
    PENDING = auto()
    """An invalidation is pending, so the entry may be outdated."""
    SILENT = auto()
    """PostgreSQL does not answer. No invalidation of the registry was pending when it last did."""
    EXPIRED = auto()
    """There is no permit, and whether PostgreSQL answers is not known."""


_CURRENT: Final = Trust.CURRENT  # each read needs it, and to find it in its class takes four times as long


class _Question(NamedTuple):
    """A question to PostgreSQL that is under way."""

    asked_at: float
    task: asyncio.Task[None]


class ReadPermit:
    """The permit of one process, used on one event loop."""

    def __init__(
        self,
        find_pending: Callable[[], Awaitable[Pending | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """No permit yet.

        Args:
            find_pending: Asks PostgreSQL for all pending invalidations; None if they are too many to be listed.
            clock: Seconds that grow steadily, also while the process is stopped.
            answer_seconds: How long a reader without a permit waits for PostgreSQL's answer.
        """
        self._find_pending = find_pending
        self._clock = clock
        self.answer_seconds = answer_seconds
        self._asked_at = -inf
        self._pending: Pending | None = frozenset()
        self._is_silent = False
        self._questions: list[_Question] = []

    @property
    def has_pending(self) -> bool:
        """Whether any invalidation was pending at the last answer."""
        return self._pending is None or bool(self._pending)

    @property
    def is_silent(self) -> bool:
        """Whether PostgreSQL did not answer the last question."""
        return self._is_silent

    def trust(self, shop_id: int, slug: str, *, arrived: float | None = None) -> Trust:
        """Whether this registry's entry in Redis may be used by a reader who arrives now, or has at `arrived`.

        `arrived` is on the permit's clock. The answer to a question holds for readers who arrive before its permit
        ends, however late it comes: a change that it does not list is committed after that, and so is concurrent with
        their reads.
        """
        is_valid = (self._clock() if arrived is None else arrived) < self._asked_at + PERMIT_SECONDS
        if not is_valid and not self._is_silent:
            return Trust.EXPIRED
        pending = self._pending
        if pending is None or (pending and (shop_id, slug) in pending):
            return Trust.PENDING
        return _CURRENT if is_valid else Trust.SILENT

    async def wait_for_trust(self, shop_id: int, slug: str) -> Trust:
        """As `trust`, for a reader without a permit: asks PostgreSQL before. EXPIRED if there is none even then."""
        arrived, trust = self._clock(), Trust.EXPIRED
        for _ in range(_AWAITED_QUESTIONS):
            await self.renew()
            trust = self.trust(shop_id, slug, arrived=arrived)
            if trust is not Trust.EXPIRED:
                break
        return trust

    def renew_from(self, asked_at: float, pending: Pending | None) -> None:
        """Take over an answer of PostgreSQL to a question that was sent at `asked_at` on the clock."""
        if asked_at > self._asked_at:  # not an answer that was overtaken by a later one
            self._asked_at, self._pending = asked_at, pending
        self._is_silent = False

    def note_silence(self, cause: object) -> None:
        """PostgreSQL did not answer: the permit ends in its own time, and readers no longer wait for the next one.

        `cause` is for the log.
        """
        if not self._is_silent:
            _log.warning("PostgreSQL does not answer; what Redis has is served as stale until it does: %s", cause)
        self._is_silent = True

    async def renew(self) -> None:
        """Ask PostgreSQL, for at most `answer_seconds`; concurrent callers share one question.

        A question that hangs is not cancelled, which could take as long. The next call asks on another connection,
        as does each call after a later question was answered.
        """
        newest = self._questions[-1] if self._questions else None
        is_hanging = newest is not None and (self._is_silent or newest.asked_at <= self._asked_at)
        if newest is None or (is_hanging and len(self._questions) < MAX_QUESTIONS):
            newest = self._ask()
        done, _ = await asyncio.wait({newest.task}, timeout=self.answer_seconds)
        if not done:
            self._note_silence_since(newest.asked_at, f"no answer within {self.answer_seconds:g} s")

    async def stop(self) -> None:
        """Cancel the questions that are under way."""
        tasks = {question.task for question in self._questions}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self.answer_seconds)

    def _ask(self) -> _Question:
        asked_at = self._clock()
        question = _Question(asked_at, asyncio.create_task(self._renew(asked_at), context=Context()))
        self._questions.append(question)
        question.task.add_done_callback(lambda _: self._questions.remove(question))
        return question

    def _note_silence_since(self, asked_at: float, cause: object) -> None:
        """As `note_silence`, unless a later question was answered."""
        if asked_at >= self._asked_at:
            self.note_silence(cause)

    async def _renew(self, asked_at: float) -> None:
        try:
            self.renew_from(asked_at, await self._find_pending())
        except Exception as error:  # noqa: BLE001  any failure means that the pending invalidations are not known
            _log.debug("Pending invalidations could not be read", exc_info=True)
            self._note_silence_since(asked_at, error)
