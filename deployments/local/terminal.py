"""Output of `make up`: progress with durations, then exits and restarts. Child processes write to their logs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Terminal:
    """Prints to standard output."""

    def show(self, text: str) -> None:
        """Print and flush. Ignores a closed reader, as in `make up | head`."""
        with suppress(OSError):
            print(text, flush=True)

    @contextmanager
    def timed(self, title: str) -> Iterator[None]:
        """Print `title` and the duration when the block ends without an exception."""
        began = time.monotonic()
        yield
        self.show(f"  {title} ({time.monotonic() - began:.1f} s)")
