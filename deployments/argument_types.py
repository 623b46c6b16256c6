"""Types of command-line arguments: numbers and texts within bounds. Others would fail later, or never end a wait."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Final, TypeVar

Number = TypeVar("Number", int, float)

MAX_SECONDS: Final = 86_400.0


def between(kind: Callable[[str], Number], least: Number, most: Number) -> Callable[[str], Number]:
    """An argparse type: `int` or `float` from `least` to `most`, which NaN and infinity are not."""

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise ArgumentTypeError(f"must be a number from {least:,} to {most:,}")
        return value

    return parse


def line(most: int) -> Callable[[str], str]:
    """An argparse type: a text of 1 to `most` printable characters, without spaces around it."""

    def parse(text: str) -> str:
        text = text.strip()
        if not (1 <= len(text) <= most and text.isprintable()):
            raise ArgumentTypeError(f"must be a line of 1 to {most:,} characters")
        return text

    return parse


seconds: Final = between(float, 0.0, MAX_SECONDS)
port: Final = between(int, 1, 65_535)
