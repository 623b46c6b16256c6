"""A registry as it is cached: the payload's bytes, version, access level and owner. Pure."""

from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Final, NamedTuple

from wishcraft.domain import lifetimes


class AccessLevel(IntEnum):
    """What a caller needs to read a registry; the numbers are stored in Redis."""

    OPEN = 0
    """Nothing."""
    CODE = 1
    """The access code or a grant."""
    OWNER = 2
    """To be its registrant."""
    ABSENT = 3
    """The registry does not exist; this is cached too, for a short time."""


class Quota(NamedTuple):
    """Maximum number of cache entries of one shop, and of their bytes."""

    entries: int
    bytes: int


UNCOUNTED: Final = Quota(-1, -1)
"""The quota of entries that do not count towards any."""


@dataclass(frozen=True, slots=True)
class CachedRegistry:
    """A registry's payload at a version; the body may be newer than the version, never older."""

    version: int
    access_level: AccessLevel
    owner: int
    """The registrant's customer id in Shopify, or 0."""
    body: bytes
    quota: Quota = UNCOUNTED
    """The cache quota of its shop."""
    soft_lifetime: timedelta = lifetimes.SHORTEST
