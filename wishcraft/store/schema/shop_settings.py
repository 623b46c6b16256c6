"""The settings of a shop, which `Shop.settings` stores as JSON: `wishcraft/services/shops/settings.py` changes them."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from wishcraft.domain.addresses import SHOP_ADDRESS
from wishcraft.domain.cached_registry import Quota
from wishcraft.domain.languages import Language
from wishcraft.domain.share_links import MAX_LENGTH, TEMPLATE, check_template
from wishcraft.domain.text_forms import COLOUR, ONE_LINE

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
        pattern=COLOUR,
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
        pattern=ONE_LINE,
        description="Postal address of the shop, in one line, at the end of its mails.",
    )
    language: Annotated[Language, Strict(strict=False)] = Field(
        Language.EN,
        description=f"Language of the shop's mails, and of the pages that their links open: {', '.join(Language)}.",
    )

    @property
    def cache_quota(self) -> Quota:
        """The shop's share of the cache."""
        return Quota(self.cache_quota_entries, self.cache_quota_bytes)
