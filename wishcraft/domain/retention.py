"""Kinds of rows with a retention, and their cutoffs. Pure: the caller passes the time.

The days are parameters of `cleanup-logs`: defaults in its flow, deployed values in `prefect.yaml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class DataKind(StrEnum):
    """Kind of expired data, as shown to ops."""

    AUDIT = "audit logs"
    COMPLIANCE = "compliance audit logs"
    WEBHOOKS = "handled webhook events"
    PAYLOADS = "payloads of webhooks"
    ORDERS = "orders with their settled line items"
    PRODUCTS = "products without items"
    STOCK = "stock without items"
    ANALYTICS = "analytics events"
    VIEWS = "views by day"
    MINUTES = "service minutes"
    INVITATIONS = "ended invitations"
    COUNTED = "counted invitations of deleted registries"
    MAILS = "mails of deleted registries"
    IDEMPOTENCY = "expired idempotency keys"
    FILES = "files for people"
    ERASURES = "entries of the journal of erasures"
    RUNS = "Prefect runs"
    SESSIONS = "expired sessions"
    ORPHANS = "orphaned sessions in Redis"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of a cleanup: `rows` in a batch, no new batch after `until`; a dry run deletes nothing."""

    rows: int
    until: datetime
    dry_run: bool = False


def cutoffs(days: Mapping[DataKind, int], now: datetime) -> dict[DataKind, datetime]:
    """The cutoff of each kind; older rows are expired, a row of exactly that age is not."""
    return {kind: now - timedelta(days=kept) for kind, kept in days.items()}
