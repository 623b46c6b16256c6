"""Pauses a task before any of its exchanges with PostgreSQL, to run another one at that point."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from unittest import mock

from psycopg import AsyncConnection

from tests.support.aliases import Demo
from tests.support.waiting import WAITING, wait_until


class _Pause:
    """Stops its task before the exchange with this number, until `go_on` is set."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.reached: Final = asyncio.Event()
        self.go_on: Final = asyncio.Event()


_pause: Final = ContextVar[_Pause | None]("pause", default=None)


@contextmanager
def pauses() -> Iterator[None]:
    """Lets `run_beside` pause tasks within the block."""
    wait = AsyncConnection.wait

    async def wait_paused(connection: AsyncConnection[Any], *arguments: Any, **options: Any) -> Any:
        if pause := _pause.get():
            pause.left -= 1
            if pause.left < 0 and not pause.reached.is_set():
                pause.reached.set()
                await pause.go_on.wait()
        return await wait(connection, *arguments, **options)

    with mock.patch.object(AsyncConnection, "wait", wait_paused):
        yield


async def run_beside(
    demo: Demo, number: int, first: Callable[[], Awaitable[object]], second: Callable[[], Awaitable[object]]
) -> bool:
    """Run `first` up to its exchange with this number, then `second` until it ends or waits, then the rest of both.

    Returns:
        False if `first` had no such exchange.
    """
    pause = _Pause(number)

    async def run_first() -> None:
        _pause.set(pause)
        await first()
        pause.reached.set()

    running = asyncio.create_task(run_first())
    reaching = asyncio.create_task(pause.reached.wait())
    await asyncio.wait([running, reaching], return_when=asyncio.FIRST_COMPLETED)
    reaching.cancel()
    was_reached = not running.done() and pause.left < 0
    other = asyncio.ensure_future(second())
    if was_reached:
        await wait_until(lambda: other.done() or demo.execute(WAITING).fetchone() != (0,))
        pause.go_on.set()
    await asyncio.gather(running, other)
    return was_reached
