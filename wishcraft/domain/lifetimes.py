"""How long a cached registry is fresh, by how stable it is. Pure.

Every change through WishCraft invalidates the entry at once, so a lifetime bounds only what bypasses that: rows that
were changed by hand or restored from a backup.
"""

from datetime import timedelta
from typing import Final

SHORTEST: Final = timedelta(hours=1)
"""The soft lifetime of a registry near its event: most of its guests read it in these days."""
JUST_CHANGED: Final = timedelta(hours=2)
LONGEST: Final = timedelta(hours=12)
SHARE: Final = 0.1
"""The soft lifetime as a share of the time since the last change (RFC 9111, section 4.2.2)."""
DAYS_BEFORE_EVENT: Final = 7
DAYS_AFTER_EVENT: Final = 1


def soft_lifetime(unchanged_for: timedelta, days_to_event: int | None) -> timedelta:
    """How long the entry is served without looking at PostgreSQL.

    Args:
        unchanged_for: Time since the registry's last change; one that changes often has changed recently.
        days_to_event: Days until the event in UTC, negative after it; None without a date.
    """
    if days_to_event is not None and -DAYS_AFTER_EVENT <= days_to_event <= DAYS_BEFORE_EVENT:
        return SHORTEST
    return min(max(JUST_CHANGED, SHARE * unchanged_for), LONGEST)
