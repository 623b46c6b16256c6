"""The consumer of webhooks: takes them from the queue, or from the inbox while Redis does not answer."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from wishcraft.cache.webhook_queue import SHARE_OF_LOW, Enqueued, PendingEntry, QueueEntry, WebhookQueue
from wishcraft.domain.webhooks import TopicPriority, WebhookOutcome, priority_of
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.webhooks.handler_protocol import Handler
from wishcraft.services.webhooks.process import process
from wishcraft.store import webhook_inbox

WINDOW: Final = 2_000
"""Webhooks that a consumer holds at once: more than a stream has of a shop, so that it sees those of others."""
SHOPS_AT_ONCE: Final = 8
"""One more connection is left to the sweep, and one to spare, of the pool's ten."""
LOW_AT_ONCE: Final = 6
"""Of these, as of the places of the window, low priority has so many at most: all of them may wait for Shopify."""
WAIT: Final = timedelta(seconds=1)
_REST: Final = 4
"""While some shop has more webhooks than the queue takes, a sweep follows after this many times its duration."""
_log: Final = logging.getLogger(__name__)


_Line = tuple[str, TopicPriority]
"""A shop's webhooks of one priority, which are handled one batch after the other."""


Process = Callable[
    [Resources, Mapping[str, Handler], str, Sequence[int]], Awaitable[Mapping[WebhookOutcome | None, int]]
]
"""What handles webhooks of a shop: `process`."""


@dataclass(frozen=True, slots=True)
class ConsumerLimits:
    """How much a consumer takes at once, and how long it waits."""

    window: int = WINDOW
    per_shop: int = 100
    """Webhooks of a shop in one transaction."""
    gather_seconds: float = 0.1
    """How long webhooks gather while shops are under way, before more are taken: a transaction costs as much as 30."""
    sweep_seconds: float = 5.0
    take_over_idle: timedelta = timedelta(seconds=30)
    """An id that idles longer is taken over: its consumer has probably died. If it is alive, one of the two handles
    it."""
    remove_idle: timedelta = timedelta(hours=1)
    pause_seconds: float = 1.0
    """Before the next try when PostgreSQL does not answer."""


class Consumer:
    """One of any number of consumers; each needs a name of its own.

    Each shop whose webhooks it holds has a task for each priority, which handles them batch by batch; between its
    batches a shop lets others go first. A slow or busy shop delays no other. Low-priority webhooks, which may wait for
    Shopify, delay no high-priority ones, however many shops have some.
    """

    def __init__(
        self,
        resources: Resources,
        handlers: Mapping[str, Handler],
        name: str,
        on_sweep: Callable[[], None] = lambda: None,
        *,
        limits: ConsumerLimits = ConsumerLimits(),
        process: Process = process,
    ) -> None:
        """`on_sweep` is called in each sweep, so about every five seconds, while PostgreSQL answers."""
        self.limits = limits
        self._process = process
        self._resources = resources
        self._handlers = handlers
        self._queue = WebhookQueue(resources.redis)
        self._name = name
        self._on_sweep = on_sweep
        self.stopped = asyncio.Event()
        """Set by `stop`."""
        self._slots = asyncio.Semaphore(SHOPS_AT_ONCE)
        self._low_slots = asyncio.Semaphore(LOW_AT_ONCE)
        self._held: dict[int, PendingEntry | None] = {}
        """Webhooks in progress, by id; None for one that comes from the inbox."""
        self._by_shop: dict[_Line, deque[int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._some_finished = asyncio.Event()
        self._queue_answers = True
        """Found out by the sweep; a queue that does not answer must not hold up what comes from the inbox."""

    def stop(self) -> None:
        """End `run` once what is taken is handled."""
        self.stopped.set()

    async def run(self) -> None:
        """Handle webhooks until `stop`."""
        sweep = asyncio.create_task(self._sweep_regularly())
        try:
            while not self.stopped.is_set():
                await self._take_or_pause()
            await self.finish()
            await sweep
        finally:  # what is cancelled is delivered to another
            for task in (sweep, *self._tasks):
                task.cancel()

    async def _take_or_pause(self) -> None:
        try:
            await self.take(WAIT)
            if len(self._held) >= self.limits.window:
                await self._wait_for_room()
            elif self._tasks:
                await self._pause(self.limits.gather_seconds)
        except DatabaseUnavailable as error:
            _log.warning("Webhooks wait for PostgreSQL: %s", error)
            await self._pause(self.limits.pause_seconds)
        except Exception:  # noqa: BLE001  it is logged, and tried again
            _log.exception("Webhooks could not be taken; the next try follows")
            await self._pause(self.limits.pause_seconds)

    async def take(self, wait: timedelta) -> int:
        """Begin to handle what waits in the queue, or in the inbox while Redis does not answer; the number taken.

        Takes no more than there is room for in the window, and waits at most `wait` for the first one.

        Raises:
            DatabaseUnavailable: Neither Redis nor PostgreSQL answers.
        """
        room, low_room = self._find_room()
        if not room:
            return 0
        if self._queue_answers:
            wait_for_new = wait if low_room else timedelta(0)  # what waits in the queue is not new
            try:
                return self._hold(await self._queue.take(self._name, room, wait_for_new, most_low=low_room))
            except CacheUnavailable as error:
                _log.warning("Webhooks are taken from the inbox: %s", error)
                self._queue_answers = False
        taken = self._hold_ids(await self._find_in_inbox(room, low_room))
        if not taken:
            await self._pause(wait.total_seconds())
        return taken

    async def _find_in_inbox(self, room: int, low_room: int) -> dict[int, _Line]:
        """Due webhooks that are not held, as many as `WebhookQueue.take` would take."""
        found: list[list[tuple[int, _Line]]] = []
        async with self._resources.db.autocommit() as session:
            for priority in (TopicPriority.HIGH, TopicPriority.LOW):
                due = await webhook_inbox.find_due_fairly(session, priority, self.limits.window, self.limits.per_shop)
                found.append([(each.id, (each.shop_domain, priority)) for each in due if each.id not in self._held])
        high, low = found[0], found[1][:low_room]
        high = high[: room - min(len(low), room // SHARE_OF_LOW)]
        return dict([*high, *low[: room - len(high)]])

    def _find_room(self) -> tuple[int, int]:
        """How many more webhooks may be held, and how many of them of low priority."""
        low = sum(len(waiting) for (_, priority), waiting in self._by_shop.items() if priority is TopicPriority.LOW)
        most_low = -(-self.limits.window * LOW_AT_ONCE // SHOPS_AT_ONCE)
        return max(0, self.limits.window - len(self._held)), max(0, most_low - low)

    async def finish(self) -> None:
        """Wait until what is taken is handled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def sweep(self) -> Enqueued:
        """Put what is due and not handled into the queue, and begin to handle what dead consumers left.

        Raises:
            CacheUnavailable, DatabaseUnavailable: A store does not answer.
        """
        swept = await enqueue_due(self._resources, self._on_sweep, window=self.limits.window)
        room, low_room = self._find_room()
        self._hold(await self._queue.take_over(self._name, room, self.limits.take_over_idle, most_low=low_room))
        await self._queue.remove_consumers(self.limits.remove_idle)
        self._queue_answers = True
        return swept

    async def _sweep_regularly(self) -> None:
        while not self.stopped.is_set():
            started, pause = time.monotonic(), self.limits.sweep_seconds
            try:
                swept = await self.sweep()
                await self._resources.counters.flush()
                if swept.full:
                    pause = min(pause, _REST * (time.monotonic() - started))
            except (CacheUnavailable, DatabaseUnavailable) as error:
                _log.debug("The inbox could not be swept: %s", error)
            except Exception:  # noqa: BLE001  it is logged, and tried again
                _log.exception("The inbox could not be swept; the next try follows")
            await self._pause(pause)

    def _hold(self, taken: Sequence[PendingEntry]) -> int:
        """Hand entries to the tasks of their shops; the number of those that are not held yet."""
        added = self._hold_ids({each.id: (each.shop_domain, each.priority) for each in taken})
        self._held |= {each.id: each for each in taken}  # one that came from the inbox is acknowledged too
        return added

    def _hold_ids(self, lines: Mapping[int, _Line]) -> int:
        new = {webhook_id: line for webhook_id, line in lines.items() if webhook_id not in self._held}
        self._held |= dict.fromkeys(new)
        for webhook_id, line in new.items():
            if line not in self._by_shop:
                self._by_shop[line] = deque()
                task = asyncio.create_task(self._handle_line(line))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self._by_shop[line].append(webhook_id)
        return len(new)

    async def _handle_line(self, line: _Line) -> None:
        """Handle the line until none is left, or PostgreSQL does not answer and `stop` was called."""
        waiting = self._by_shop[line]
        try:
            while waiting:
                async with self._low_slots if line[1] is TopicPriority.LOW else nullcontext(), self._slots:
                    batch = [waiting[place] for place in range(min(len(waiting), self.limits.per_shop))]
                    try:
                        await self._handle(line[0], batch)
                    except DatabaseUnavailable as error:
                        _log.warning("Webhooks wait for PostgreSQL: %s", error)
                        if self.stopped.is_set():
                            return
                        await self._pause(self.limits.pause_seconds)  # in its slot, so that not all shops try at once
                        continue
                    for each in batch:
                        waiting.popleft()
                        del self._held[each]
                    self._some_finished.set()
        finally:  # what is left is delivered again
            del self._by_shop[line]
            for each in waiting:
                del self._held[each]

    async def _handle(self, shop_domain: str, batch: Sequence[int]) -> None:
        """Handle and acknowledge the batch.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        try:
            counts = await self._process(self._resources, self._handlers, shop_domain, batch)
        except DatabaseUnavailable:
            raise
        except Exception:  # noqa: BLE001  it is logged, and they are delivered again
            _log.exception("Webhooks could not be handled; they are delivered again")
            return
        for outcome, number in counts.items():
            self._resources.counters.count("webhooks_handled_total", number, outcome=outcome or "retried")
        with suppress(CacheUnavailable):  # they are delivered again, and found handled
            await self._queue.acknowledge([held for each in batch if (held := self._held[each])])

    async def _wait_for_room(self) -> None:
        self._some_finished.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._some_finished.wait(), WAIT.total_seconds())

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)


async def enqueue_due(
    resources: Resources, on_read: Callable[[], None] = lambda: None, *, window: int = WINDOW
) -> Enqueued:
    """Put what is due and not handled into the queue, unless it is there or the queue has enough of the shop.

    Args:
        resources: The stores.
        on_read: Called once PostgreSQL has answered.
        window: How many are read at once.

    Raises:
        CacheUnavailable, DatabaseUnavailable: A store does not answer.
    """
    queue, total, last = WebhookQueue(resources.redis), Enqueued(0, frozenset()), None
    while True:
        async with resources.db.autocommit() as session:
            due = await webhook_inbox.find_due(session, window, last, total.full)
        on_read()
        added, full = await queue.enqueue(
            QueueEntry(each.id, each.shop_domain, priority_of(each.topic)) for each in due
        )
        total = Enqueued(total.added + added, total.full | full)
        if len(due) < window:
            return total
        last = due[-1]
