"""A limit on the time that a caller waits for PostgreSQL."""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Final, TypeVar

from wishcraft.errors import database_silent

T = TypeVar("T")
_running: Final[set[asyncio.Task[Any]]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, which is left to itself after `seconds`: psycopg takes as long to cancel a query.

    Raises:
        DatabaseUnavailable: There is no result yet.
    """
    task = asyncio.create_task(work, context=Context())
    _running.add(task)
    task.add_done_callback(_discard_task)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        raise database_silent(seconds)
    return task.result()


def _discard_task(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled():
        task.exception()  # marks it as retrieved: its caller may have left
