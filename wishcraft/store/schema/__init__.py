"""The tables, by topic. Importing this package fills `Base.metadata`."""

from wishcraft.store.schema.access import ApiKey, IdempotencyKey, Lock, Session
from wishcraft.store.schema.base import Base
from wishcraft.store.schema.history import AnalyticsEvent, AuditLog, RegistryViews, ServiceMinute
from wishcraft.store.schema.mail import CountedInvitation, DeletedMail, EmailSuppression, Invitation, Reminder
from wishcraft.store.schema.registries import PendingInvalidation, Purchase, Registry, RegistryItem
from wishcraft.store.schema.shop_settings import ShopSettings
from wishcraft.store.schema.shops import Shop
from wishcraft.store.schema.webhooks import (
    InventoryItem,
    InventoryLevel,
    MergedCustomer,
    Order,
    ProductVersion,
    UnmatchedLine,
    WebhookEvent,
)

__all__ = [
    "AnalyticsEvent", "ApiKey", "AuditLog", "Base", "CountedInvitation", "DeletedMail", "EmailSuppression",
    "IdempotencyKey",
    "InventoryItem", "InventoryLevel", "Invitation", "Lock", "MergedCustomer", "Order", "PendingInvalidation",
    "ProductVersion", "Purchase", "Registry", "RegistryItem", "RegistryViews", "Reminder", "ServiceMinute", "Session",
    "Shop", "ShopSettings", "UnmatchedLine", "WebhookEvent",
]  # fmt: skip
