"""A registry as it is cached: who may read it, how long it is fresh, and how its views are weighed. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple

from wishcraft.domain.registries import SHOWN_TO_GUESTS, RegistryStatus, Visibility

SHORTEST_LIFETIME: Final = timedelta(hours=1)
"""The soft lifetime of a registry near its event: most of its guests read it in these days."""
LIFETIME_AFTER_CHANGE: Final = timedelta(hours=2)
"""Soft lifetime of a registry that has just changed; it grows from here while nothing changes."""
LONGEST_LIFETIME: Final = timedelta(hours=12)
_UNCHANGED_SHARE: Final = 0.1
"""The soft lifetime, as a share of the time since the last change (RFC 9111, section 4.2.2)."""
_DAYS_BEFORE_EVENT: Final = 7
_DAYS_AFTER_EVENT: Final = 1

HALF_LIFE_OF_VIEWS: Final = timedelta(days=7)
"""A view counts twice as much as one a half-life before."""
_FIRST_DAY_OF_VIEWS: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Weights counted from here fit in a float for about 19 years."""


class AccessLevel(IntEnum):
    """Access level: what a caller needs to read a registry. The numbers are stored in Redis."""

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
    soft_lifetime: timedelta = SHORTEST_LIFETIME


def access_level(visibility: Visibility, status: RegistryStatus) -> AccessLevel:
    """The access level of a registry; a paused or archived one is readable by its registrant only."""
    if status not in SHOWN_TO_GUESTS or visibility is Visibility.PRIVATE:
        return AccessLevel.OWNER
    return AccessLevel.CODE if visibility is Visibility.PASSWORD else AccessLevel.OPEN


def soft_lifetime(unchanged_for: timedelta, days_to_event: int | None) -> timedelta:
    """How long the entry is served without looking at PostgreSQL.

    Every change through WishCraft invalidates the entry at once, so a lifetime bounds only what bypasses that: rows
    that were changed by hand or restored from a backup.

    Args:
        unchanged_for: Time since the registry's last change; one that changes often has changed recently.
        days_to_event: Days until the event in UTC, negative after it; None without a date.
    """
    if days_to_event is not None and -_DAYS_AFTER_EVENT <= days_to_event <= _DAYS_BEFORE_EVENT:
        return SHORTEST_LIFETIME
    return min(max(LIFETIME_AFTER_CHANGE, _UNCHANGED_SHARE * unchanged_for), LONGEST_LIFETIME)


def view_weight(now: datetime) -> float:
    """The points that one view at `now` (aware) adds to a registry's score; the least viewed are evicted first.

    Old views are not reduced; new views get a growing weight instead, so scores only grow and stay comparable at any
    time.
    """
    return float(2 ** ((now - _FIRST_DAY_OF_VIEWS) / HALF_LIFE_OF_VIEWS))
