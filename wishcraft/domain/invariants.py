"""The invariants that `check-invariants` checks, and their time limits. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.domain.work_results import WorkResult, total_counts


class Invariant(StrEnum):
    """The values name the metric's label and the counts: `entries_repaired`, `entries_left`."""

    INVALIDATIONS = "invalidations"
    """Redis has received the invalidation of every change."""
    PURCHASES = "purchases"
    """An item's purchased quantity is the sum of its live purchases."""
    ENTRIES = "entries"
    """A cache entry equals what PostgreSQL would return."""
    REMINDERS = "reminders"
    """No reminder and no invitation is `sending` while no run sends it."""
    SYNCS = "syncs"
    """Every shop with items to sync is synced."""


REPAIRED: Final = (Invariant.INVALIDATIONS, Invariant.PURCHASES, Invariant.ENTRIES)
"""Invariants that the check repairs; the others need a person or another job."""
PENDING_FOR: Final = timedelta(minutes=1)
"""The API replays pending invalidations within seconds after Redis is back."""
STUCK_FOR: Final = timedelta(minutes=30)
UNSYNCED_FOR: Final = timedelta(hours=1)
WARNING_COUNTS: Final = (*(f"{each}_repaired" for each in REPAIRED), *(f"{each}_left" for each in Invariant))
"""Counts that raise a warning unless they are 0."""


def entry_matches(
    current: CachedRegistry | None, version: int, access_level: AccessLevel, owner: int, body: bytes
) -> bool:
    """Whether an entry equals the registry in PostgreSQL; `current` is None if it does not exist."""
    if current is None:
        return access_level is AccessLevel.ABSENT
    return (version, access_level, owner, body) == (
        current.version,
        current.access_level,
        current.owner,
        current.body,
    )


def count_remaining(results: Sequence[WorkResult]) -> dict[Invariant, int]:
    """Number of violations that were not repaired, by invariant, over all shops."""
    counts = total_counts(results)
    return {each: counts.get(f"{each}_left", 0) for each in Invariant}
