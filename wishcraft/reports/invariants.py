"""The sentence that a run of `check-invariants` ends with when violations are left."""

from collections.abc import Mapping
from typing import Final

from wishcraft.domain.invariants import Invariant
from wishcraft.reports.page import counted

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


def warning(unrepaired: Mapping[Invariant, int]) -> str:
    """What is left and what to do about it, in a sentence; empty if nothing is."""
    said = [
        f"{counted(count, noun)} {rest}"
        for each, count in unrepaired.items()
        if count
        for noun, rest in [_WARNINGS[each]]
    ]
    return f"Left as they are: {'; '.join(said)}." if said else ""
