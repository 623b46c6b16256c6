"""How much a registry is viewed, with the past counting less and less. Pure.

A view weighs twice as much as one a week before it. Instead of halving what has been counted, new views are counted
higher: a score only ever grows, and two of them compare rightly at any time.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

HALF_LIFE: Final = timedelta(days=7)
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""From here a float lasts for some 19 years of doublings."""


def weight(now: datetime) -> float:
    """What one view adds to a score at `now` (aware)."""
    return float(2 ** ((now - _BEGIN) / HALF_LIFE))
