"""What must hold at all times, and what to do where it does not. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from wishcraft.domain.cached_registry import AccessLevel, CachedRegistry
from wishcraft.domain.work_results import WorkResult, total


class Invariant(StrEnum):
    """The names are those of the metric's label, and of the counts: `marks_repaired`, `marks_left`."""

    MARKS = "marks"
    """Redis has been told of every change."""
    PURCHASES = "purchases"
    """Of an item as many count as purchased as its live purchases say."""
    ENTRIES = "entries"
    """What Redis holds is what PostgreSQL would answer."""
    REMINDERS = "reminders"
    """No reminder is on its way while nobody sends."""
    SYNCS = "syncs"
    """Every shop with something to sync is synced."""


REPAIRED: Final = (Invariant.MARKS, Invariant.PURCHASES, Invariant.ENTRIES)
"""Those that a check can restore; the others need somebody to decide, or another job."""
PENDING_FOR: Final = timedelta(minutes=1)
"""The API tells Redis what it missed as soon as it answers again, which takes it seconds."""
STUCK_FOR: Final = timedelta(minutes=30)
UNSYNCED_FOR: Final = timedelta(hours=1)
WATCHED: Final = (*(f"{each}_repaired" for each in REPAIRED), *(f"{each}_left" for each in Invariant))
"""The counts of which any is worth a look."""


def agrees(document: CachedRegistry | None, version: int, access_level: AccessLevel, owner: int, body: bytes) -> bool:
    """Whether an entry says what PostgreSQL says now; None is a registry that it does not have."""
    if document is None:
        return access_level is AccessLevel.ABSENT
    return (version, access_level, owner, body) == (
        document.version,
        document.access_level,
        document.owner,
        document.body,
    )


def left(outcomes: Sequence[WorkResult]) -> dict[Invariant, int]:
    """How much of what was found is not repaired, over all shops."""
    counts = total(outcomes)
    return {each: counts.get(f"{each}_left", 0) for each in Invariant}
