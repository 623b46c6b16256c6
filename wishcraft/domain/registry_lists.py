"""Sort orders and cursors of lists of registries. Pure."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from hashlib import blake2b
from typing import Final, NamedTuple

from wishcraft.domain.ids import LARGEST_ID
from wishcraft.domain.storable_text import is_storable

EXACT_TOTAL: Final = 1_000
"""A total is counted up to this number: 100,000 registries take PostgreSQL longer to count than a page to read."""
MAX_CURSOR_LENGTH: Final = 600
_DIGEST_BYTES: Final = 6


class ListSort(StrEnum):
    """Order of a list of registries. Registries that are equal in it are in the order of their ids."""

    NEWEST = "newest"
    EVENT_DATE = "event_date"
    """The earliest first; registries without a date last."""
    NAME = "name"
    """By title, without regard to case and accents."""


class Position(NamedTuple):
    """Position in a list, where a page ends: the last registry's sort key and id."""

    key: str | None
    """The folded title, or the event date in ISO 8601; None if there is none, or the id alone is the key."""
    id: int


class Total(NamedTuple):
    """Number of registries in a list; if not exact, there are more."""

    value: int
    is_exact: bool


def encode_cursor(sort: ListSort, filters: Sequence[object], position: Position) -> str:
    """The position as a cursor, bound to the order and the filters of its list."""
    content = json.dumps([_digest(sort, filters), *position], ensure_ascii=False, separators=(",", ":")).encode()
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def decode_cursor(sort: ListSort, filters: Sequence[object], cursor: str) -> Position | None:
    """The position in a cursor; None if it is not a cursor of this order and these filters."""
    try:
        content = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        return None
    match content:
        case [str() as digest, None | str() as key, int() as number]:
            is_position = type(number) is int and 0 < number <= LARGEST_ID and _is_key(sort, key)
            return Position(key, number) if is_position and digest == _digest(sort, filters) else None
    return None


def _is_key(sort: ListSort, key: str | None) -> bool:
    if key is None:
        return sort is not ListSort.NAME
    if sort is ListSort.NAME:
        return is_storable(key)
    try:
        return sort is ListSort.EVENT_DATE and date.fromisoformat(key).isoformat() == key
    except ValueError:
        return False


def _digest(sort: ListSort, filters: Sequence[object]) -> str:
    return blake2b(repr([sort, *filters]).encode(), digest_size=_DIGEST_BYTES).hexdigest()
