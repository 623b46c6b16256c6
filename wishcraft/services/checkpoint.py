"""How a service that works in batches reports progress and changes, and learns that it must stop."""

from collections import Counter
from collections.abc import Awaitable, Callable

Checkpoint = Callable[[int, int], Awaitable[None]]
"""Called with (done, total) between two committed batches of a shop. It raises `RunStopped` to end the run there."""

Changes = Counter[str]
"""Counts of what a service has changed for good, which it fills as it proceeds: known also if it fails or stops."""


async def no_checkpoint(_done: int, _total: int) -> None:
    """Do nothing: the default for callers that neither show progress nor stop runs."""
