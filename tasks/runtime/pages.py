"""Reads all that Prefect has of a kind: its server returns at most a page at once."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

PAGE: Final = 200
"""The most that Prefect's server returns at once, unless it is configured otherwise."""


async def read_all(read: Callable[..., Awaitable[list[T]]], **filters: Any) -> list[T]:
    """What `read`, a method of Prefect's client that takes `limit` and `offset`, finds with these filters."""
    found: list[T] = []
    while page := await read(**filters, limit=PAGE, offset=len(found)):
        found += page
        if len(page) < PAGE:
            break
    return found
