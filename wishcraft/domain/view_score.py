"""Exponentially decaying score of a registry's views. Pure.

A view counts twice as much as one a week before. Old views are not reduced; new views get a growing weight instead, so
scores only grow and stay comparable at any time.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

HALF_LIFE: Final = timedelta(days=7)
_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Weights counted from here fit in a float for about 19 years."""


def weight(now: datetime) -> float:
    """The weight of one view at `now` (aware)."""
    return float(2 ** ((now - _BEGIN) / HALF_LIFE))
