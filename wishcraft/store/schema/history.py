"""What happened, written once and pruned by age: audit, webhooks received, analytics, how well we served."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, INET
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.domain.guest_events import AnalyticsType
from wishcraft.domain.retention import COMPLIANCE_PREFIX, COMPLIANCE_TOPICS
from wishcraft.store.schema.base import Base, choice

_TOPICS: Final = ", ".join(f"'{topic}'" for topic in COMPLIANCE_TOPICS)
IS_COMPLIANCE: Final = f"starts_with(action, '{COMPLIANCE_PREFIX}') OR action IN ({_TOPICS})"
"""The rule of `domain.retention.is_compliance`, word for word in the indexes and in the queries that use them."""


class WebhookOutcome(StrEnum):
    """What became of a webhook."""

    APPLIED = "applied"
    IGNORED = "ignored"
    FAILED = "failed"


class AuditLog(Base):
    """Who did what. Rows of compliance actions are kept longer than ordinary ones."""

    __tablename__ = "audit_logs"
    __table_args__ = (
        # Apart, so that a batch of ordinary rows does not wade through years of kept ones.
        Index("ix_audit_logs_find_old_ordinary", "created_at", postgresql_where=text(f"NOT ({IS_COMPLIANCE})")),
        Index("ix_audit_logs_find_old_compliance", "created_at", postgresql_where=text(IS_COMPLIANCE)),
        Index("ix_audit_logs_of_resource", "shop_id", "resource", "resource_id", "created_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int | None] = mapped_column(ForeignKey("shops.id", ondelete="SET NULL"))
    actor: Mapped[str]
    action: Mapped[str]
    resource: Mapped[str]
    resource_id: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column("metadata", server_default=text("'{}'"))
    ip: Mapped[str | None] = mapped_column(INET)
    user_agent: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class WebhookEvent(Base):
    """The inbox that makes delivery idempotent: a webhook id is taken in once per shop."""

    __tablename__ = "webhook_events"
    __table_args__ = (
        UniqueConstraint("shop_id", "webhook_id"),
        Index("ix_webhook_events_find_handled", "handled_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int] = mapped_column(ForeignKey("shops.id", ondelete="CASCADE"))
    webhook_id: Mapped[str]
    event_id: Mapped[str | None]
    topic: Mapped[str]
    triggered_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    handled_at: Mapped[datetime | None]
    outcome: Mapped[WebhookOutcome | None] = mapped_column(choice(WebhookOutcome))


class AnalyticsEvent(Base):
    """What an anonymous visitor did with a registry."""

    __tablename__ = "analytics_events"
    __table_args__ = (
        ForeignKeyConstraint(["shop_id", "registry_id"], ["registries.shop_id", "registries.id"], ondelete="CASCADE"),
        Index("ix_analytics_events_count_views", "shop_id", "type", "occurred_at", "registry_id"),
        Index("ix_analytics_events_of_registry", "registry_id"),
        # No BRIN: once deletions have freed pages, new rows lie among the oldest, and every range spans all time.
        Index("ix_analytics_events_find_old", "occurred_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    registry_id: Mapped[int]
    type: Mapped[AnalyticsType] = mapped_column(choice(AnalyticsType))
    occurred_at: Mapped[datetime]
    visitor_id: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class RegistryViews(Base):
    """How often a registry was read on a day (UTC), by whomever: what tells the most viewed from the others."""

    __tablename__ = "registry_views"
    __table_args__ = (
        UniqueConstraint("shop_id", "registry_id", "day"),
        ForeignKeyConstraint(["shop_id", "registry_id"], ["registries.shop_id", "registries.id"], ondelete="CASCADE"),
        Index("ix_registry_views_most_viewed", "shop_id", "day", "registry_id"),
        Index("ix_registry_views_find_old", "day"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    shop_id: Mapped[int]
    registry_id: Mapped[int]
    day: Mapped[date]
    views: Mapped[int]


class ServiceMinute(Base):
    """How all processes of the API together served in a minute (UTC): each adds its own. No row: none was there."""

    __tablename__ = "service_minutes"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    served: Mapped[bool]
    """Whether one of them was able to."""
    requests: Mapped[int]
    errors: Mapped[int]
    """Those of the requests that were answered with 5xx."""
    latencies: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """The requests by how long they took: along `observability.metrics.LATENCY_BOUNDS`, then those that took longer."""
    hits: Mapped[int]
    stale: Mapped[int]
    misses: Mapped[int]
    bypassed: Mapped[int]
