"""What must hold at all times, and what to do where it does not. Pure."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

from wishcraft.domain.documents import Document, Gate
from wishcraft.domain.maintenance import counted
from wishcraft.domain.outcomes import ShopOutcome, total


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
UNTOLD_FOR: Final = timedelta(minutes=1)
"""The API tells Redis what it missed as soon as it answers again, which takes it seconds."""
STUCK_FOR: Final = timedelta(minutes=30)
UNSYNCED_FOR: Final = timedelta(hours=1)
WATCHED: Final = (*(f"{each}_repaired" for each in REPAIRED), *(f"{each}_left" for each in Invariant))
"""The counts of which any is worth a look."""

_WARNINGS: Final[Mapping[Invariant, tuple[str, str]]] = {
    Invariant.MARKS: ("change", "that Redis was not told of: is it full? Look at /health"),
    Invariant.PURCHASES: ("item", "with a wrong count of purchases: run check-invariants with `repair`"),
    Invariant.ENTRIES: ("entry", "unlike what PostgreSQL says: run check-invariants with `repair`"),
    Invariant.REMINDERS: (
        "reminder",
        "under way for over half an hour: a run of send-reminders with REMINDER_RECOVERY `resend` sends them again",
    ),
    Invariant.SYNCS: ("shop", "not synced for an hour: look at the runs of sync-inventory"),
}
"""A noun for what is left, and what to say of it."""


def agrees(document: Document | None, version: int, gate: Gate, owner: int, body: bytes) -> bool:
    """Whether an entry says what PostgreSQL says now; None is a registry that it does not have."""
    if document is None:
        return gate is Gate.ABSENT
    return (version, gate, owner, body) == (document.version, document.gate, document.owner, document.body)


def left(outcomes: Sequence[ShopOutcome]) -> dict[Invariant, int]:
    """How much of what was found is not repaired, over all shops."""
    counts = total(outcomes)
    return {each: counts.get(f"{each}_left", 0) for each in Invariant}


def warning(unrepaired: Mapping[Invariant, int]) -> str:
    """What is left and what to do about it, in a sentence; empty if nothing is."""
    said = [
        f"{counted(count, noun)} {rest}"
        for each, count in unrepaired.items()
        if count
        for noun, rest in [_WARNINGS[each]]
    ]
    return f"Left as they are: {'; '.join(said)}." if said else ""
