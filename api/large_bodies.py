"""Places for large bodies of webhooks: who sends one is known only at its end, by its signature."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MAX_PLACES: Final = 16
"""With 4 MiB for each body at most, 64 MiB."""
PLACES_OF_A_SENDER: Final = 4
SECONDS: Final = 2.0
"""How long a body may keep its place. Shopify itself gives up after five seconds, the answer included."""


class NoPlaceError(Exception):
    """All places are taken, or all of this sender."""


class LargeBodies:
    """The places of one process."""

    def __init__(self) -> None:
        self._taken = Counter[str]()

    @contextmanager
    def place(self, sender: str) -> Iterator[None]:
        """Keep a place of the sender, an address or its network.

        Raises:
            NoPlaceError: There is none.
        """
        if self._taken[sender] >= PLACES_OF_A_SENDER or self._taken.total() >= MAX_PLACES:
            raise NoPlaceError
        self._taken[sender] += 1
        try:
            yield
        finally:
            self._taken[sender] -= 1
            self._taken += Counter()  # forgets senders without a place
