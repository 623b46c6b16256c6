"""The warning at the end of a `check-invariants` run with unrepaired violations."""

from collections.abc import Mapping
from typing import Final

from wishcraft.domain.invariants import Invariant
from wishcraft.reports.page import pluralize

_WARNINGS: Final[Mapping[Invariant, tuple[str, str]]] = {
    Invariant.INVALIDATIONS: ("change", "with a pending invalidation: look at Redis on /health, it may be full"),
    Invariant.PURCHASES: ("item", "with a wrong count of purchases: run check-invariants with `repair`"),
    Invariant.ENTRIES: ("entry", "different from PostgreSQL: run check-invariants with `repair`"),
    Invariant.REMINDERS: (
        "mail",
        "under way for over half an hour: the next run of its job with REMINDER_RECOVERY `resend` sends it again",
    ),
    Invariant.SYNCS: ("shop", "not synced for an hour: look at the runs of sync-inventory"),
}
"""The noun of a violation, and its description with the next step."""


def warning(unrepaired: Mapping[Invariant, int]) -> str:
    """List the unrepaired violations and what to do about them in one sentence; empty if there are none."""
    violations = [
        f"{pluralize(count, noun)} {description}"
        for invariant, count in unrepaired.items()
        if count
        for noun, description in [_WARNINGS[invariant]]
    ]
    return f"Left as they are: {'; '.join(violations)}." if violations else ""
