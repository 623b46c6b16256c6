"""A fault to seed."""

from typing import NamedTuple


class Breakage(NamedTuple):
    """A fault to seed: `find`, which occurs once in `file`, becomes `replace`; one of `tests` has to fail."""

    name: str
    """The fault, in a few words."""
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]
    """Node ids or files."""
