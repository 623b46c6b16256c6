"""The tables, by topic. Importing this package fills `Base.metadata`."""

from wishcraft.store.schema.access import ApiKey, IdempotencyKey, Lock, Session, Shop, ShopSettings
from wishcraft.store.schema.base import Base
from wishcraft.store.schema.history import AnalyticsEvent, AuditLog, RegistryViews, ServiceMinute, WebhookEvent
from wishcraft.store.schema.mail import CountedInvitation, EmailSuppression, Invitation, Reminder
from wishcraft.store.schema.registries import PendingInvalidation, Purchase, Registry, RegistryItem

__all__ = [
    "AnalyticsEvent", "ApiKey", "AuditLog", "Base", "CountedInvitation", "EmailSuppression", "IdempotencyKey",
    "Invitation", "Lock", "PendingInvalidation", "Purchase", "Registry", "RegistryItem", "RegistryViews", "Reminder",
    "ServiceMinute", "Session", "Shop", "ShopSettings", "WebhookEvent",
]  # fmt: skip
