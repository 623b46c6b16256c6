"""Checkpoints of services that work in batches: they report progress, and stop the run. Counts of changes."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

Checkpoint = Callable[[int, int], Awaitable[None]]
"""Called with (done, total) between two committed batches of a shop. It raises `RunStopped` to end the run there."""

MAX_EXAMPLES: Final = 10
"""Of each kind, for one item of a run."""


class Changes(Counter[str]):
    """Counts of what a service has changed for good, and examples: it fills them as it proceeds.

    So they are known also if it fails or stops.
    """

    def __init__(self) -> None:
        """No changes."""
        super().__init__()
        self.examples: dict[str, dict[str, None]] = {}

    def add_example(self, kind: str, example: str) -> None:
        """Keep an example of a kind of change, such as a product's name: one more than `MAX_EXAMPLES` distinct ones."""
        known = self.examples.setdefault(kind, {})
        if len(known) <= MAX_EXAMPLES:
            known[example] = None


async def no_checkpoint(_done: int, _total: int) -> None:
    """Do nothing: the default for callers that neither show progress nor stop runs."""
