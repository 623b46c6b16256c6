"""A registry as guests are given it: ready bytes, with what must be known to hand them out. Pure."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple


class AccessLevel(IntEnum):
    """What a caller must bring to be given a registry; the numbers are stored."""

    OPEN = 0
    """Nothing."""
    CODE = 1
    """The access code, or proof of having given it."""
    OWNER = 2
    """To be the customer who owns it."""
    ABSENT = 3
    """There is no such registry: an answer too, and remembered for a little while."""


class Quota(NamedTuple):
    """How much of the cache one shop may take: whole entries, and their bytes."""

    entries: int
    bytes: int


UNCOUNTED: Final = Quota(-1, -1)
"""The quota of what is not counted."""


@dataclass(frozen=True, slots=True)
class CachedRegistry:
    """One registry's answer as it stood at a version; a body may be newer than its version, never older."""

    version: int
    access_level: AccessLevel
    owner: int
    """The owning customer's Shopify id, 0 if there is none."""
    body: bytes
    quota: Quota = UNCOUNTED
    """What its shop may keep, of which this is to be a part."""
