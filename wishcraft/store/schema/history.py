"""Append-only tables with a retention: audit log, analytics events, views, service minutes."""

from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, INET
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.domain.webhooks import COMPLIANCE_TOPICS
from wishcraft.store.schema.base import Base, choice

_TOPICS: Final = ", ".join(f"'{topic}'" for topic in COMPLIANCE_TOPICS)
IS_COMPLIANCE: Final = f"starts_with(action, 'compliance.') OR action IN ({_TOPICS})"
"""Whether an audit log entry proves legal compliance, and so has the longer retention.

Indexes and queries must use the same text.
"""


class AuditLog(Base):
    """An audit log entry. Compliance actions have a longer retention."""

    __tablename__ = "audit_logs"
    __table_args__ = (
        # Two indexes, so that a batch of ordinary rows does not scan years of retained ones.
        Index("ix_audit_logs_find_old_ordinary", "created_at", postgresql_where=text(f"NOT ({IS_COMPLIANCE})")),
        Index("ix_audit_logs_find_old_compliance", "created_at", postgresql_where=text(IS_COMPLIANCE)),
        Index("ix_audit_logs_of_shop", "shop_id", "created_at", "id"),
        Index("ix_audit_logs_of_actor", "shop_id", "actor", "created_at", "id"),
        Index("ix_audit_logs_of_action", "shop_id", "action", "created_at", "id"),
        Index("ix_audit_logs_of_resource", "shop_id", "resource", "resource_id", "created_at", "id"),
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


class AnalyticsEvent(Base):
    """Event of a visitor, a browser without a name, in a registry."""

    __tablename__ = "analytics_events"
    __table_args__ = (
        ForeignKeyConstraint(["shop_id", "registry_id"], ["registries.shop_id", "registries.id"], ondelete="CASCADE"),
        Index("ix_analytics_events_count_views", "shop_id", "type", "occurred_at", "registry_id"),
        Index("ix_analytics_events_of_registry", "registry_id"),
        # Not BRIN: deletions free pages for new rows among the oldest ones, after which every range spans all time.
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
    """Number of reads of a registry on a day (UTC), by any caller."""

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
    """Counts of all API processes in a minute (UTC). A missing row means that no process ran."""

    __tablename__ = "service_minutes"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    served: Mapped[bool]
    """Whether at least one process could serve registries."""
    requests: Mapped[int]
    errors: Mapped[int]
    """Requests with a 5xx response."""
    latencies: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    """Requests by latency bucket: one for each of `observability.metrics.LATENCY_BOUNDS`, then the slower ones."""
    hits: Mapped[int]
    stale: Mapped[int]
    misses: Mapped[int]
    bypassed: Mapped[int]
