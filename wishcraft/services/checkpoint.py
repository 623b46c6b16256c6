"""How a service that works in batches tells how far it is, and learns that it is to stop."""

from collections.abc import Awaitable, Callable

Checkpoint = Callable[[int, int], Awaitable[None]]
"""Called between two batches of a shop, when nothing is half-done: how many are done, of how many in all.

It raises `RunStopped` if the run is to end here.
"""


async def no_checkpoint(_done: int, _total: int) -> None:
    """For callers that neither watch nor stop."""
