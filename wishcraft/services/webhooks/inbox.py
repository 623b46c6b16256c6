"""Receipt of webhooks: those of one turn of the event loop are stored together, then put into the queue."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass
from itertools import islice
from typing import Final

from wishcraft.cache.webhook_queue import QueueEntry, WebhookQueue
from wishcraft.domain.webhooks import priority_of
from wishcraft.errors import CacheUnavailable, DatabaseRefused, DatabaseUnavailable, database_silent
from wishcraft.observability.metrics import WEBHOOK_COMMIT_SECONDS
from wishcraft.store.engine import Database
from wishcraft.store.webhook_inbox import Received, insert

_STATEMENTS: Final = 2
"""Statements under way at once: what comes meanwhile shares the next one, and the pool is left to the readers."""
_log: Final = logging.getLogger(__name__)


_Request = tuple["asyncio.Future[bool]", Received]
"""A webhook, with the future that says, once it is stored, whether it is new."""


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """What an inbox takes at once, and for how long its requests wait."""

    answer_seconds: float = 3.0
    """How long a request waits for PostgreSQL: Shopify waits 5 s, connecting and sending included."""
    enqueue_seconds: float = 0.25
    """How long it waits for Redis; the consumer finds in the inbox what is not in the queue."""
    max_rows: int = 500
    """Webhooks in one statement."""
    max_bytes: int = 8 * 1024 * 1024
    """Of the payloads in one statement; a larger payload goes alone."""
    max_waiting: int = 2_000
    """Webhooks that wait for a statement."""
    max_waiting_bytes: int = 64 * 1024 * 1024
    """Of their payloads."""


class Inbox:
    """Stores webhooks of many requests with few statements."""

    def __init__(self, db: Database, queue: WebhookQueue, limits: InboxLimits = InboxLimits()) -> None:
        self.limits = limits
        self._db = db
        self._queue = queue
        self._waiting: dict[asyncio.Future[bool], Received] = {}
        self._bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def receive(self, webhook: Received) -> bool:
        """Store the webhook; False if it was stored before. It is committed then.

        Raises:
            DatabaseUnavailable: It is not known to be stored: PostgreSQL does not answer in time, or too many wait.
            DatabaseRefused: PostgreSQL refuses one of its values.
        """
        limits, size = self.limits, len(webhook.payload)
        if len(self._waiting) >= limits.max_waiting or (self._bytes and self._bytes + size > limits.max_waiting_bytes):
            raise DatabaseUnavailable("too many webhooks wait for PostgreSQL")
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[bool] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._send)
        self._waiting[stored] = webhook
        self._bytes += size
        started = time.perf_counter()
        try:
            async with asyncio.timeout(limits.answer_seconds):
                is_new = await stored
        except TimeoutError:
            raise database_silent(limits.answer_seconds) from None
        finally:
            self._bytes -= size
            self._waiting.pop(stored, None)
        WEBHOOK_COMMIT_SECONDS.observe(time.perf_counter() - started)
        return is_new

    async def close(self) -> None:
        """Wait for the statements that are under way."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self) -> None:
        """Start statements for what waits, unless enough are under way: each starts the next at its end."""
        while self._waiting and len(self._tasks) < _STATEMENTS:
            batch = self._take()
            task = asyncio.create_task(self._store(batch), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._finish)

    def _finish(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._send()

    def _take(self) -> list[_Request]:
        batch: list[_Request] = []
        size = 0
        for stored, webhook in islice(self._waiting.items(), self.limits.max_rows):
            size += len(webhook.payload)
            if batch and size > self.limits.max_bytes:
                break
            batch.append((stored, webhook))
        for stored, _ in batch:
            del self._waiting[stored]
        return batch

    async def _store(self, batch: Sequence[_Request]) -> None:
        """Store the batch, and settle its requests. If PostgreSQL refuses a value, store each half on its own."""
        try:
            ids = await insert(self._db, [webhook for _, webhook in batch])
        except DatabaseRefused as error:
            if len(batch) == 1:
                _fail(batch, error)
            else:
                middle = len(batch) // 2
                await self._store(batch[:middle])
                await self._store(batch[middle:])
            return
        except Exception as error:  # noqa: BLE001  each request answers with it
            _fail(batch, error)
            return
        await self._enqueue(
            [
                QueueEntry(row_id, webhook.shop_domain, priority_of(webhook.topic))
                for (_, webhook), row_id in zip(batch, ids, strict=True)
                if row_id is not None
            ]
        )
        for (stored, _), row_id in zip(batch, ids, strict=True):
            if not stored.done():
                stored.set_result(row_id is not None)

    async def _enqueue(self, entries: Sequence[QueueEntry]) -> None:
        if not entries:
            return
        try:
            async with asyncio.timeout(self.limits.enqueue_seconds):
                await self._queue.enqueue(entries)
        except (CacheUnavailable, TimeoutError) as error:
            _log.debug("Webhooks are in the inbox and not in the queue: %s", type(error).__name__)
        except Exception:  # noqa: BLE001  they are stored: the requests succeed
            _log.exception("Webhooks are in the inbox and not in the queue")


def _fail(batch: Sequence[_Request], error: Exception) -> None:
    for stored, _ in batch:
        if not stored.done():
            stored.set_exception(error)
