"""The consumer of webhooks: takes them from the queue, or from the inbox while Redis does not answer."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final

from wishcraft.cache.webhook_queue import Delivery, QueueEntry, WebhookQueue
from wishcraft.domain.batches import batches
from wishcraft.domain.webhooks import TOPICS, Priority
from wishcraft.errors import CacheUnavailable, DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.webhooks.handling import Handler
from wishcraft.services.webhooks.process import process
from wishcraft.store import webhook_events

WINDOW: Final = 1_000
"""Entries that are taken at once: as far as a shop looks past the webhooks of another that sends many."""
PER_SHOP: Final = 100
"""Webhooks of a shop in one transaction."""
SHOPS_AT_ONCE: Final = 4
WAIT: Final = timedelta(seconds=1)
SWEEP_SECONDS: Final = 5.0
CLAIM_IDLE: Final = timedelta(seconds=30)
"""Far longer than a window takes: what was taken so long ago was taken by a consumer that died."""
FORGET_IDLE: Final = timedelta(hours=1)
_PAUSE_SECONDS: Final = 1.0
"""Before the next try when PostgreSQL does not answer."""
_log: Final = logging.getLogger(__name__)


class Consumer:
    """One of any number of consumers; each needs a name of its own."""

    def __init__(
        self,
        resources: Resources,
        handlers: Mapping[str, Handler],
        name: str,
        on_sweep: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_sweep` is called after each sweep, so about every five seconds, while PostgreSQL answers."""
        self._resources = resources
        self._handlers = handlers
        self._queue = WebhookQueue(resources.redis)
        self._name = name
        self._on_sweep = on_sweep
        self.stopped = asyncio.Event()
        """Set by `stop`."""
        self._shops = asyncio.Semaphore(SHOPS_AT_ONCE)

    def stop(self) -> None:
        """End `run` after the window that is under way."""
        self.stopped.set()

    async def run(self) -> None:
        """Handle webhooks until `stop`."""
        sweep = asyncio.create_task(self._sweep_regularly())
        while not self.stopped.is_set():
            try:
                if not await self.handle_some(WAIT):
                    continue
            except DatabaseUnavailable as error:
                _log.warning("Webhooks wait for PostgreSQL: %s", error)
                await self._pause(_PAUSE_SECONDS)
            except Exception:  # noqa: BLE001  it is logged, and tried again
                _log.exception("Webhooks could not be handled; the next try follows")
                await self._pause(_PAUSE_SECONDS)
        await sweep

    async def handle_some(self, wait: timedelta) -> int:
        """Handle what waits in the queue, at most `WINDOW`; without Redis, what is due in the inbox. Their number.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer; what was not handled is delivered again.
        """
        try:
            taken = await self._queue.take(self._name, WINDOW, wait)
        except CacheUnavailable:
            return await self._handle_inbox(wait)
        await self._handle(taken)
        return len(taken)

    async def sweep(self) -> int:
        """Put what is due and not handled into the queue, and handle what dead consumers left; the number put.

        Raises:
            CacheUnavailable, DatabaseUnavailable: A store does not answer.
        """
        added = await enqueue_due(self._resources, self._on_sweep)
        await self._handle(await self._queue.claim(self._name, WINDOW, CLAIM_IDLE))
        await self._queue.forget_consumers(FORGET_IDLE)
        return added

    async def _sweep_regularly(self) -> None:
        while not self.stopped.is_set():
            try:
                await self.sweep()
                await self._resources.counters.flush()
            except (CacheUnavailable, DatabaseUnavailable) as error:
                _log.debug("The inbox could not be swept: %s", error)
            except Exception:  # noqa: BLE001  it is logged, and tried again
                _log.exception("The inbox could not be swept; the next try follows")
            await self._pause(SWEEP_SECONDS)

    async def _handle_inbox(self, wait: timedelta) -> int:
        """Handle what is due in the inbox, without the queue."""
        async with self._resources.db.autocommit() as session:
            due = await webhook_events.find_due_fairly(session, WINDOW, PER_SHOP)
        by_shop: dict[str, list[int]] = {}
        for each in due:
            by_shop.setdefault(each.shop_domain, []).append(each.id)
        await self._handle_shops(by_shop)
        if not due:
            await self._pause(wait.total_seconds())
        return len(due)

    async def _handle(self, taken: Sequence[Delivery]) -> None:
        """Handle deliveries, and acknowledge them shop by shop."""
        by_shop: dict[str, list[int]] = {}
        for each in taken:
            by_shop.setdefault(each.shop_domain, []).append(each.id)
        handled = await self._handle_shops(by_shop)
        with suppress(CacheUnavailable):  # they are delivered again, and found handled
            await self._queue.acknowledge([each for each in taken if each.id in handled])

    async def _handle_shops(self, by_shop: Mapping[str, Sequence[int]]) -> set[int]:
        """Handle each shop's webhooks beside those of others; the ids of those that are recorded.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer for some of them.
        """
        results = await asyncio.gather(
            *(self._handle_shop(shop, ids) for shop, ids in by_shop.items()), return_exceptions=True
        )
        handled: set[int] = set()
        for result in results:
            if isinstance(result, BaseException):
                raise result
            handled |= result
        return handled

    async def _handle_shop(self, shop_domain: str, ids: Sequence[int]) -> set[int]:
        handled: set[int] = set()
        for batch in batches(ids, PER_SHOP):
            async with self._shops:  # between its batches, a shop lets others go first
                counts = await process(self._resources, self._handlers, shop_domain, batch)
            handled |= set(batch)
            for outcome, number in counts.items():
                self._resources.counters.count("webhooks_handled_total", number, outcome=outcome or "retried")
        return handled

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), seconds)


async def enqueue_due(resources: Resources, on_read: Callable[[], None] = lambda: None) -> int:
    """Put what is due and not handled into the queue, unless it is there; the number put.

    Args:
        resources: The stores.
        on_read: Called once PostgreSQL has answered.

    Raises:
        CacheUnavailable, DatabaseUnavailable: A store does not answer.
    """
    queue, added, last = WebhookQueue(resources.redis), 0, None
    while True:
        async with resources.db.autocommit() as session:
            due = await webhook_events.find_due(session, WINDOW, last)
        on_read()
        added += await queue.enqueue(
            QueueEntry(each.id, each.shop_domain, TOPICS.get(each.topic, Priority.LOW)) for each in due
        )
        if len(due) < WINDOW:
            return added
        last = due[-1]
