"""The table of shops, and their settings."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import INT8RANGE, Range
from sqlalchemy.orm import Mapped, mapped_column

from wishcraft.domain.addresses import SHOP_ADDRESS
from wishcraft.domain.languages import Language
from wishcraft.domain.share_links import MAX_LENGTH, TEMPLATE, check_template
from wishcraft.store.schema.base import Base, Timestamps, Validated, choice


class ShopStatus(StrEnum):
    """Whether the app is installed."""

    ACTIVE = "active"
    UNINSTALLED = "uninstalled"
    """Jobs and the API leave such a shop alone."""


ShareTemplate = Annotated[
    str,
    Field(max_length=MAX_LENGTH, json_schema_extra={"pattern": TEMPLATE.pattern}),
    AfterValidator(check_template),
]


class ShopSettings(BaseModel):
    """Settings of a merchant."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    password_protection: bool = Field(
        default=True,
        description="Whether a registry can be protected by an access code. Protected ones stay protected.",
    )
    email_notifications: bool = Field(
        default=True, description="Whether the shop's reminders and invitations are sent."
    )
    low_stock_threshold: int = Field(
        5, ge=0, le=999_999, description="Items of which at most this many pieces are in stock are shown as `low`."
    )
    max_items_per_registry: int = Field(
        100, ge=1, le=1000, description="How many items a registry can have. Registries with more keep them."
    )
    cache_quota_entries: int = Field(
        50_000,
        ge=0,
        le=10_000_000,
        description="How many of the shop's registries and variants can be in Redis; variants go first. 0: none.",
    )
    cache_quota_bytes: int = Field(
        512 * 2**20,
        ge=0,
        le=2**40,
        description="How many bytes of Redis the cached registries and variants can use; 0: none.",
    )
    brand_colour: str = Field(
        "#2f6f5e",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="The colour of the shop's mails and of the pages that their links open.",
    )
    share_url: ShareTemplate | None = Field(
        None,
        description="URL of a registry in the storefront, with `{slug}`; without one, it is made of the domain.",
    )
    reply_to: str | None = Field(
        None,
        max_length=254,
        pattern=SHOP_ADDRESS,
        description="E-mail address to which answers to the shop's mails go; without one, they go to the sender.",
    )
    mail_from: str | None = Field(
        None,
        max_length=254,
        pattern=SHOP_ADDRESS,
        description="Sender of the shop's mails, used once its domain is verified; without one, it is that of the app.",
    )
    postal_address: str | None = Field(
        None,
        min_length=1,
        max_length=300,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="Postal address of the shop, in one line, at the end of its mails.",
    )
    language: Annotated[Language, Strict(strict=False)] = Field(
        Language.EN,
        description=f"Language of the shop's mails, and of the pages that their links open: {', '.join(Language)}.",
    )


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
