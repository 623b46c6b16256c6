"""Splits sequences into batches. Pure."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the values in order, `size` at a time; the last batch may be smaller."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
