"""Waiting for what other tasks, processes and servers do: polls with a deadline that holds on a busy machine."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

PATIENCE_SECONDS: Final = 60
"""A deadline that only something that never comes misses."""
WAITING: Final = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
"""Counts the connections to the test's database that wait for a lock."""


async def wait_until(
    condition: Callable[[], object | Awaitable[object]], what: str | Callable[[], str] = "", *, pause: float = 0.01
) -> None:
    """Poll the condition until it holds; `what` names its failure, and a `what` that costs something is a function."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await _result(condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        await asyncio.sleep(pause)


def block_until(condition: Callable[[], object], what: str | Callable[[], str] = "", *, pause: float = 0.01) -> None:
    """`wait_until` without an event loop."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(pause)


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
