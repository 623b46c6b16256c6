"""What the person at the terminal sees: timed progress while the stack starts, then its children's logs."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_COLOURS: Final = (36, 35, 34, 33, 32, 96, 95, 94)


class Terminal:
    """Writes to standard output; colours only on a terminal, and children's lines only once `show_logs` is set."""

    def __init__(self) -> None:
        self.show_logs = False
        self._coloured = sys.stdout.isatty()
        self._names: list[str] = []

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

    def log(self, name: str, line: str) -> None:
        """Print a child's line after its name."""
        if self.show_logs:
            self.say(f"{self._paint(name)} {line}")

    def _paint(self, name: str) -> str:
        label = f"{name:<9}|"
        if not self._coloured:
            return label
        if name not in self._names:
            self._names.append(name)
        return f"\x1b[{_COLOURS[self._names.index(name) % len(_COLOURS)]}m{label}\x1b[0m"
