"""The table of shops."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import INT8RANGE, Range
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.store.schema.base import Base, Timestamps, Validated, choice
from wishcraft.store.schema.shop_settings import ShopSettings


class ShopStatus(StrEnum):
    """Whether the app is installed."""

    ACTIVE = "active"
    UNINSTALLED = "uninstalled"
    """Jobs and the API leave such a shop alone."""


class Shop(Timestamps, Base):
    """A Shopify store that installed the app, with its encrypted offline token; no cleanup deletes it."""

    __tablename__ = "shops"

    id: Mapped[int] = mapped_column(primary_key=True)
    domain: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    email: Mapped[str]
    currency: Mapped[str]
    timezone: Mapped[str]
    plan: Mapped[str]
    status: Mapped[ShopStatus] = mapped_column(choice(ShopStatus), server_default=ShopStatus.ACTIVE)
    settings: Mapped[ShopSettings] = mapped_column(Validated(ShopSettings), server_default=text("'{}'"))
    settings_version: Mapped[int] = mapped_column(server_default=text("1"))
    """Grows with each change of the settings."""
    outdated_stock: Mapped[Range[int] | None] = mapped_column(INT8RANGE)
    """The registries that a change of settings changed, until their cache entries are replaced: those with an item
    whose stock is in this range; unbounded: all."""
    access_token_encrypted: Mapped[bytes | None]
    refresh_token_encrypted: Mapped[bytes | None]
    token_expires_at: Mapped[datetime | None]
    installed_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    """When the ID token was issued by which the app was last installed: an older uninstallation changes nothing."""
    uninstalled_at: Mapped[datetime | None]
    """When the app was last uninstalled, as far as a webhook said so."""
    described_at: Mapped[datetime | None]
    """Since when Shopify describes it as it is here: an older `shop/update` changes nothing. NULL: not known."""
    synced_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    """When its last inventory sync finished, or when the shop was added."""
    orders_read_until: Mapped[datetime | None]
    """Up to here, its orders have been read from Shopify, by the time of their last change. NULL: none."""
    verified_mail_domain: Mapped[str | None]
    """The domain of the setting `mail_from` that was found verified when it was last checked. NULL: none."""
    variants_read_at: Mapped[datetime | None]
    """When the last inventory sync that finished began: each variant then wished for was read at this time or later."""
