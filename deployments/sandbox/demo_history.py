"""Demo rows of a shop's history; some exceed their retention, so that the cleanup jobs have work."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from deployments.sandbox.catalogue import DemoShop, Row
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.domain.webhooks import COMPLIANCE_TOPICS, WebhookOutcome
from wishcraft.store.schema.access import SessionKind

ACTIONS: Final = ("registry.created", "registry.changed", "item.added", "item.removed", "registry.archived")
COMPLIANCE_ACTIONS: Final = (*COMPLIANCE_TOPICS, "compliance.export")
TOPICS: Final = ("orders/updated", "products/update", "inventory_levels/update", "refunds/create")
DAYS_OF_LOGS: Final = 90
DAYS_OF_COMPLIANCE: Final = 900
DAYS_OF_EVENTS: Final = (380, 460)
HOURS_OF_SESSIONS: Final = (-240, 240)


@dataclass(frozen=True)
class HistoryRows:
    """All history rows of one shop, by table."""

    audit_logs: list[Row]
    webhook_events: list[Row]
    analytics_events: list[Row]
    sessions: list[Row]


class HistoryGenerator:
    """Generates the history of one shop before `today`; the same for the same seed and day."""

    def __init__(self, shop: DemoShop, seed: int, today: date) -> None:
        self._shop = shop
        self._rng = random.Random(f"{seed}:{shop.domain}:history")  # noqa: S311  demo data
        self._noon = datetime.combine(today, time(12), UTC)

    def generate(self, registries: Sequence[Row]) -> HistoryRows:
        """A fixed number of rows per table about these registries; no rows without registries."""
        ids = [registry["id"] for registry in registries]
        if not ids:
            return HistoryRows([], [], [], [])
        return HistoryRows(
            audit_logs=[*self._audit_logs(ids, 120, ACTIONS, DAYS_OF_LOGS),
                        *self._audit_logs(ids, 20, COMPLIANCE_ACTIONS, DAYS_OF_COMPLIANCE)],
            webhook_events=list(self._webhook_events(80)),
            analytics_events=list(self._analytics_events(ids, 150)),
            sessions=list(self._sessions(registries, 40)),
        )  # fmt: skip

    def _ago(self, days: float) -> datetime:
        return self._noon - timedelta(days=days)

    def _audit_logs(self, ids: list[int], count: int, actions: Sequence[str], days: int) -> Iterator[Row]:
        for _ in range(count):
            yield {
                "shop_id": self._shop.number,
                "actor": "sandbox",
                "action": self._rng.choice(actions),
                "resource": "registry",
                "resource_id": str(self._rng.choice(ids)),
                "created_at": self._ago(self._rng.uniform(0, days)),
            }

    def _webhook_events(self, count: int) -> Iterator[Row]:
        for number in range(count):
            received = self._ago(self._rng.uniform(0, DAYS_OF_LOGS))
            yield {
                "shop_domain": self._shop.domain,
                "webhook_id": f"sandbox-{self._shop.number}-{number}",
                "topic": self._rng.choice(TOPICS),
                "triggered_at": received,
                "received_at": received,
                "handled_at": received + timedelta(seconds=1),
                "outcome": WebhookOutcome.APPLIED,
            }

    def _analytics_events(self, ids: list[int], count: int) -> Iterator[Row]:
        for _ in range(count):
            yield {
                "shop_id": self._shop.number,
                "registry_id": self._rng.choice(ids),
                "type": self._rng.choice(list(AnalyticsType)),
                "occurred_at": self._ago(self._rng.uniform(*DAYS_OF_EVENTS)),
                "visitor_id": f"visitor-{self._rng.randint(1, 5000)}",
            }

    def _sessions(self, registries: Sequence[Row], count: int) -> Iterator[Row]:
        for number in range(count):
            expires = self._noon + timedelta(hours=self._rng.uniform(*HOURS_OF_SESSIONS))
            yield {
                "id": f"sandbox-{self._shop.number}-{number}",
                "shop_id": self._shop.number,
                "kind": SessionKind.GUEST_GRANT,
                "subject": self._rng.choice(registries)["slug"],
                "created_at": expires - timedelta(days=1),
                "expires_at": expires,
            }
