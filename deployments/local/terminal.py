"""What the person at the terminal sees: timed progress, then what happens to the stack; children have their logs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Terminal:
    """Writes to standard output."""

    def say(self, text: str) -> None:
        """Print now. A reader that has gone away (`make up | head`) must not disturb the stack."""
        with suppress(OSError):
            print(text, flush=True)

    @contextmanager
    def timed(self, title: str) -> Iterator[None]:
        """Say `title` and the seconds it took, when the block ends well."""
        began = time.monotonic()
        yield
        self.say(f"  {title} ({time.monotonic() - began:.1f} s)")
