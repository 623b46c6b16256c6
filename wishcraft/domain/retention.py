"""What is deleted for its age, and what compliance keeps longer. Pure: the caller brings the time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

COMPLIANCE_PREFIX: Final = "compliance."
COMPLIANCE_TOPICS: Final = ("customers/data_request", "customers/redact", "shop/redact")
"""The webhooks that every app must act on: https://shopify.dev/docs/apps/build/compliance/privacy-law-compliance."""


class Kind(StrEnum):
    """What is deleted by age, as ops read it."""

    AUDIT = "audit logs"
    COMPLIANCE = "compliance audit logs"
    WEBHOOKS = "handled webhook events"
    ANALYTICS = "analytics events"
    VIEWS = "views by day"
    MINUTES = "service minutes"
    IDEMPOTENCY = "expired idempotency keys"
    RUNS = "Prefect runs"
    SESSIONS = "expired sessions"
    ORPHANS = "orphaned sessions in Redis"


def is_compliance(action: str) -> bool:
    """Whether an audit log of this action proves that the law was kept, and is therefore kept longer than others."""
    return action.startswith(COMPLIANCE_PREFIX) or action in COMPLIANCE_TOPICS


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be done: `rows` in one batch, no batch begun after `until`, and none at all in a dry run."""

    rows: int
    until: datetime
    dry_run: bool = False


def cutoffs(days: Mapping[Kind, int], now: datetime) -> dict[Kind, datetime]:
    """The moment for each kind: what is older than it is past its time; what is exactly as old is kept."""
    return {kind: now - timedelta(days=kept) for kind, kept in days.items()}
