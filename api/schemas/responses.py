"""Response schemas for OpenAPI. The core composes the bytes; a test checks that they match."""

from datetime import date, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from wishcraft.domain.callers import Scope
from wishcraft.domain.inventory import StockLevel
from wishcraft.domain.invitations import InvitationStatus
from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility
from wishcraft.domain.registry_lists import EXACT_TOTAL
from wishcraft.store.schema import ShopSettings

Money = Annotated[
    str,
    Field(
        pattern=r"^\d+(\.\d{2,4})?$", examples=["12.50"], description="Amount in the registry's or the shop's currency."
    ),
]

ShareUrl = Annotated[str, Field(description="The registry's page in the storefront, by the shop's setting.")]


class Schema(BaseModel):
    """Base of all response schemas: no further fields."""

    model_config = ConfigDict(extra="forbid")


class Event(Schema):
    """The event, with its date in the shop's time zone."""

    type: EventType
    date: date | None


class Item(Schema):
    """A wished-for variant, with the quantities wanted and purchased."""

    id: int
    product_id: int = Field(description="Shopify's product id.")
    variant_id: int = Field(description="Shopify's variant id, for adding to a cart.")
    handle: str
    product_title: str
    variant_title: str = Field(description="Empty if the product has no options.")
    image: str | None
    price: Money
    compare_at_price: Money | None
    wanted: int
    purchased: int = Field(description="Quantity purchased. May exceed `wanted`.")
    remaining: int
    priority: Priority
    notes: str
    available: bool = Field(description="Whether the variant can be bought now.")
    stock: StockLevel
    status: ItemStatus
    display_order: int = Field(description="Items are listed in ascending order.")
    attribution: UUID = Field(
        description="A cart puts it into the line-item property `_registry_item`: the order then counts for this item."
    )


class Progress(Schema):
    """Quantities of all items."""

    wanted: int
    purchased: int = Field(description="Purchases beyond an item's wanted quantity included.")
    fulfilled: int = Field(description="Of the wanted pieces, those that were purchased.")
    percent: int = Field(ge=0, le=100, description="Share of `fulfilled` in `wanted`.")


class Totals(Schema):
    """Value of the wanted and of the purchased items, at current prices."""

    wanted: Money
    purchased: Money


_EVENT: Final[dict[str, Any]] = {"type": "wedding", "date": "2027-06-12"}
_SUMMARY: Final[dict[str, Any]] = {
    "id": 100000001,
    "slug": "emma-hugos-wedding-k3j9x2mqpa",
    "share_url": "https://maple-and-pine.myshopify.com/apps/registry/r/emma-hugos-wedding-k3j9x2mqpa",
    "title": "Emma & Hugo's Wedding",
}
_ITEM: Final[dict[str, Any]] = {
    "id": 100000002,
    "product_id": 8000010000001,
    "variant_id": 40000010000003,
    "handle": "nordic-wool-throw",
    "product_title": "Nordic Wool Throw",
    "variant_title": "Sage",
    "image": "/images/nordic-wool-throw.svg",
    "price": "92.00",
    "compare_at_price": None,
    "wanted": 2,
    "purchased": 1,
    "remaining": 1,
    "priority": "high",
    "notes": "Any colour is lovely",
    "available": True,
    "stock": "low",
    "status": "active",
    "display_order": 0,
    "attribution": "0b0c4ad5-7d0e-4e0f-9a3b-6a1f2f0f7c11",
}
_PROGRESS: Final[dict[str, Any]] = {"wanted": 2, "purchased": 1, "fulfilled": 1, "percent": 50}


class ProductVariant(Schema):
    """A variant that the shop sells, with its product."""

    product_id: int = Field(description="Shopify's product id.")
    variant_id: int = Field(description="Shopify's variant id, for adding to a cart or to a registry.")
    handle: str
    product_title: str
    variant_title: str = Field(description="Empty if the product has no options.")
    image: str | None
    price: Money
    compare_at_price: Money | None
    available: bool = Field(description="Whether the variant can be bought now.")
    stock: StockLevel


class ProductList(Schema):
    """The variants that were looked up."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "currency": "USD",
                    "variants": [{name: _ITEM[name] for name in ProductVariant.model_fields}],
                    "unknown_ids": [1],
                }
            ]
        }
    )

    currency: str
    variants: list[ProductVariant]
    unknown_ids: list[int] = Field(description="Ids of variants that the shop does not sell.")


class RegistryAnswer(Schema):
    """A registry as guests see it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_SUMMARY,
                    "description": "Thank you for celebrating with us.",
                    "registrants": ["Emma", "Hugo"],
                    "event": _EVENT,
                    "visibility": "public",
                    "status": "active",
                    "currency": "USD",
                    "items": [_ITEM],
                    "progress": _PROGRESS,
                    "totals": {"wanted": "184.00", "purchased": "92.00"},
                }
            ]
        }
    )

    id: int
    slug: str
    share_url: ShareUrl
    title: str
    description: str
    registrants: list[str] = Field(description="First names of the registrant and co-registrants.")
    event: Event
    visibility: Visibility
    status: RegistryStatus
    currency: str = Field(examples=["EUR"])
    items: list[Item]
    progress: Progress
    totals: Totals


class PersonShown(Schema):
    """A registrant or co-registrant, as the registrant sees them."""

    first_name: str
    last_name: str
    email: str
    status: InvitationStatus = Field(
        description="Reminders go to `confirmed` people. An `expired` invitation was not answered in time."
    )


class Private(Schema):
    """What only its registrant sees of a registry."""

    event_location: str | None
    has_access_code: bool = Field(description="Whether guests need a code if the visibility is `password`.")
    registrant: PersonShown
    co_registrants: list[PersonShown]


class OwnRegistryAnswer(Private, RegistryAnswer):
    """A registry as its registrant sees it, with every field that PATCH sets but the access code."""


class ItemList(Schema):
    """The items of a registry that match the filters."""

    currency: str = Field(examples=["EUR"])
    items: list[Item]


class RegistrySummary(Schema):
    """A registry in a list."""

    id: int
    slug: str
    share_url: ShareUrl
    title: str
    registrants: list[str] = Field(description="First names of the registrant and co-registrants.")
    event: Event
    image: str | None = Field(description="Image of the first item that has one.")
    progress: Progress


class _List(Schema):
    """What every page of a list has."""

    total: int = Field(description="Number of registries in the whole list.")
    total_is_exact: bool = Field(
        description=f"False if the list is longer than `total`: registries are counted up to {EXACT_TOTAL:,}."
    )
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last page.")


class RegistryList(_List):
    """A page of registries."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "registries": [
                        {
                            **_SUMMARY,
                            "registrants": ["Emma", "Hugo"],
                            "event": _EVENT,
                            "image": _ITEM["image"],
                            "progress": _PROGRESS,
                        }
                    ],
                    "total": 1_000,
                    "total_is_exact": False,
                    "next_cursor": "WyI1ZTM5YzA0ZDFmMmEiLG51bGwsMTAwMDAwMDAxXQ",
                }
            ]
        }
    )

    registries: list[RegistrySummary]


class OwnRegistry(Private, RegistrySummary):
    """A registry in its registrant's list, with the fields that guests do not see."""

    visibility: Visibility
    status: RegistryStatus


class OwnRegistryList(_List):
    """A page of the customer's own registries."""

    registries: list[OwnRegistry]


class GrantAnswer(Schema):
    """A grant that opens the registry. Send it in `X-Registry-Grant`, or as `grant` in the query."""

    grant: str
    expires_at: datetime


class Accepted(Schema):
    """Number of events accepted. They are stored within about a second."""

    accepted: int


class KeyShown(Schema):
    """An API key, without the key itself."""

    name: str
    prefix: str = Field(description="The key begins with `wc_` and this prefix.")
    scopes: list[Scope]
    ip_allow_list: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Time of the last use, to the minute.")
    revoked_at: datetime | None


class KeyList(Schema):
    """The shop's API keys, newest first."""

    keys: list[KeyShown]


class KeyIssued(KeyShown):
    """A new API key. `key` is shown only in this response."""

    key: str


class AuditEntryShown(Schema):
    """An entry of the audit log: who did what to which resource, and from where."""

    id: int
    created_at: datetime
    actor: str = Field(
        examples=["key:0123456789ab"],
        description="`key:` and its prefix, `customer:` and `admin:` with the shop's and the person's ids, or a job.",
    )
    action: str = Field(examples=["registry.changed"])
    resource: str = Field(examples=["registry"])
    resource_id: str
    details: dict[str, Any] = Field(description="What belongs to the action, such as the settings before and after.")
    ip: str | None = Field(description="The address of the request; null for a job.")
    user_agent: str | None


class AuditTrail(Schema):
    """A page of the audit log, newest first."""

    entries: list[AuditEntryShown]
    next_cursor: str | None = Field(description="The `cursor` of the next page; null on the last page.")


class SettingsAnswer(ShopSettings):
    """The shop's settings."""

    effective_share_url: str = Field(
        examples=["https://maple-and-pine.myshopify.com/apps/registry/r/{slug}"],
        description="The template of share links that is in use: `share_url`, or the default if that is null.",
    )


class InstallationAnswer(Schema):
    """The shop in which the app is installed, as Shopify describes it."""

    domain: str
    name: str
    currency: str
    timezone: str = Field(examples=["America/New_York"], description="In which the shop's days begin.")
    plan: str = Field(description="The name of its plan.")
    installed_at: datetime = Field(description="When the app got its access last.")
    synced_at: datetime = Field(description="When its last inventory sync finished, or when the app was installed.")


class UsageAnswer(Schema):
    """Usage of the shop: counters since their start (they expire after a month without a read), and current sizes."""

    hits: int = Field(description="Reads answered from Redis.")
    stale: int = Field(
        description="Reads answered from Redis with an entry past its soft expiry, which is then revalidated."
    )
    misses: int = Field(description="Reads answered from PostgreSQL, which filled Redis.")
    bypassed: int = Field(
        description="Reads answered from PostgreSQL without filling Redis, for example while Redis is unavailable."
    )
    bytes_sent: int = Field(description="Bytes of registries sent.")
    evictions: int = Field(description="Registries evicted because the shop exceeded its quota.")
    entries: int = Field(description="Registries in Redis now.")
    products: int = Field(description="Variants in Redis now. They count towards `quota_entries` too.")
    bytes_held: int = Field(description="Bytes of both.")
    quota_entries: int
    quota_bytes: int
