"""Response schemas for OpenAPI. The core composes the bytes; a test checks that they match."""

from datetime import date, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from wishcraft.domain.inventory import StockLevel
from wishcraft.domain.invitations import InvitationStatus
from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility
from wishcraft.domain.registry_lists import EXACT_TOTAL

CURSOR: Final = "WyI1ZTM5YzA0ZDFmMmEiLG51bGwsMTAwMDAwMDAxXQ"
GRANT: Final = "1.k2Wn0Yq3cQ9b5t8u6R1xZsV4aLpE7dGfHjKmNoPq"
"""Examples."""

_AMOUNT: Final[dict[str, Any]] = {"pattern": r"^\d+(\.\d{2,4})?$", "examples": ["12.50"]}
Money = Annotated[str, Field(**_AMOUNT)]
Price = Annotated[Money, Field(description="Price of one piece now, in `currency`.")]
RegistryId = Annotated[int, Field(examples=[100000001], description="The registry's id.")]
Slug = Annotated[
    str, Field(examples=["emma-hugos-wedding-k3j9x2mqpa"], description="The registry's name in URLs. It never changes.")
]
ShareUrl = Annotated[
    str,
    Field(
        examples=["https://maple-and-pine.myshopify.com/apps/registry/r/emma-hugos-wedding-k3j9x2mqpa"],
        description="The registry's page in the storefront, by the shop's setting.",
    ),
]
Title = Annotated[str, Field(examples=["Emma & Hugo's Wedding"], description="The registry's title.")]
FirstNames = Annotated[
    list[str], Field(examples=[["Emma", "Hugo"]], description="First names of the registrant and co-registrants.")
]
Currency = Annotated[str, Field(examples=["USD"], description="Currency of all amounts (ISO 4217).")]
VisibilityShown = Annotated[Visibility, Field(description="Who finds and opens the registry.")]
StatusShown = Annotated[
    RegistryStatus, Field(description="Guests see `active` and `completed` registries, the registrant all.")
]
Image = Annotated[
    str | None, Field(examples=["https://cdn.shopify.com/throw.jpg"], description="URL of the picture; null without.")
]
NextCursor = Annotated[
    str | None, Field(examples=[CURSOR], description="The `cursor` of the next page; null on the last page.")
]


EventDay = Annotated[
    date | None, Field(examples=["2027-06-12"], description="Day in the shop's time zone; null if it is not known.")
]


class Schema(BaseModel):
    """Base of all response schemas: no further fields."""

    model_config = ConfigDict(extra="forbid")


class Event(Schema):
    """The event, with its date in the shop's time zone."""

    type: EventType = Field(description="Type of the event.")
    date: EventDay


class ProductVariant(Schema):
    """A variant that the shop sells, with its product."""

    product_id: int = Field(examples=[8000010000001], description="Shopify's product id.")
    variant_id: int = Field(
        examples=[40000010000003], description="Shopify's variant id, for adding to a cart or to a registry."
    )
    handle: str = Field(examples=["nordic-wool-throw"], description="The product's name in URLs: `/products/{handle}`.")
    product_title: str = Field(examples=["Nordic Wool Throw"], description="The product's title.")
    variant_title: str = Field(examples=["Sage"], description="Empty if the product has no options.")
    image: Image
    price: Price
    compare_at_price: Money | None = Field(description="Price before a reduction; null without one.")
    available: bool = Field(examples=[True], description="Whether the variant can be bought now.")
    stock: StockLevel = Field(description="`low` from the shop's `low_stock_threshold` down.")


class Item(ProductVariant):
    """A wished-for variant, with the quantities wanted and purchased."""

    id: int = Field(examples=[100000002], description="The item's id.")
    wanted: int = Field(examples=[2], description="Quantity wanted.")
    purchased: int = Field(examples=[1], description="Quantity purchased. May exceed `wanted`.")
    remaining: int = Field(examples=[1], description="Quantity still wanted; 0 if more was purchased.")
    priority: Priority = Field(description="How much the registrant wants it.")
    notes: str = Field(examples=["Any colour is lovely"], description="What the registrant adds for guests.")
    status: ItemStatus = Field(description="Whether it can be bought, now or at all.")
    display_order: int = Field(examples=[0], description="Items are listed in ascending order.")
    attribution: UUID = Field(
        description="A cart puts it into the line-item property `_registry_item`: the order then counts for this item."
    )


class Progress(Schema):
    """Quantities of all items."""

    wanted: int = Field(description="Pieces wanted.")
    purchased: int = Field(description="Purchases beyond an item's wanted quantity included.")
    fulfilled: int = Field(description="Of the wanted pieces, those that were purchased.")
    percent: int = Field(ge=0, le=100, description="Share of `fulfilled` in `wanted`.")


class Totals(Schema):
    """Value of the wanted and of the purchased items, at current prices."""

    wanted: Money = Field(description="Of the pieces wanted, in `currency`.")
    purchased: Money = Field(description="Of the pieces purchased, in `currency`.")


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
    "compare_at_price": "120.00",
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

    currency: Currency
    variants: list[ProductVariant] = Field(description="Those that the shop sells, in the order of the request.")
    unknown_ids: list[int] = Field(examples=[[1]], description="Ids of variants that the shop does not sell.")


_REGISTRY: Final[dict[str, Any]] = {
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
_PERSON: Final = {
    "first_name": "Emma", "last_name": "Reed", "email": "emma.reed@example.com", "status": "confirmed",
}  # fmt: skip
_PRIVATE: Final[dict[str, Any]] = {
    "event_location": "The Orangery",
    "has_access_code": False,
    "registrant": _PERSON,
    "co_registrants": [],
}


class RegistryAnswer(Schema):
    """A registry as guests see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REGISTRY]})

    id: RegistryId
    slug: Slug
    share_url: ShareUrl
    title: Title
    description: str = Field(examples=["Thank you for celebrating with us."], description="What guests read below it.")
    registrants: FirstNames
    event: Event = Field(description="The event, with its date in the shop's time zone.")
    visibility: VisibilityShown
    status: StatusShown
    currency: Currency
    items: list[Item] = Field(description="All items that are not hidden, in display order.")
    progress: Progress = Field(description="Quantities of all items.")
    totals: Totals = Field(description="Value of the wanted and of the purchased items, at current prices.")


class PersonShown(Schema):
    """A registrant or co-registrant, as the registrant sees them."""

    first_name: str = Field(examples=["Emma"], description="First name, which guests see.")
    last_name: str = Field(examples=["Reed"], description="Last name.")
    email: str = Field(examples=["emma.reed@example.com"], description="Address of reminders.")
    status: InvitationStatus = Field(
        description="Reminders go to `confirmed` people. An `expired` invitation was not answered in time."
    )


class Private(Schema):
    """The private fields of a registry, for its registrant alone."""

    event_location: str | None = Field(examples=["The Orangery"], description="Where the event is.")
    has_access_code: bool = Field(description="Whether guests need a code if the visibility is `password`.")
    registrant: PersonShown = Field(description="Who owns the registry.")
    co_registrants: list[PersonShown] = Field(description="Further people named in it.")


class OwnRegistryAnswer(Private, RegistryAnswer):
    """A registry as its registrant sees it, with every field that PATCH sets but the access code."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REGISTRY | _PRIVATE]})


class ItemList(Schema):
    """The items of a registry that match the filters."""

    currency: Currency
    items: list[Item] = Field(description="Those that match all filters, in the order of `sort`.")


class RegistrySummary(Schema):
    """A registry in a list."""

    id: RegistryId
    slug: Slug
    share_url: ShareUrl
    title: Title
    registrants: FirstNames
    event: Event = Field(description="The event, with its date in the shop's time zone.")
    image: Image = Field(description="Image of the first item that has one.")
    progress: Progress = Field(description="Quantities of all items.")


class _List(Schema):
    """Fields of every page of a list."""

    total: int = Field(examples=[42], description="Number of registries in the whole list.")
    total_is_exact: bool = Field(
        description=f"False if the list is longer than `total`: registries are counted up to {EXACT_TOTAL:,}."
    )
    next_cursor: NextCursor


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
                    "next_cursor": CURSOR,
                }
            ]
        }
    )

    registries: list[RegistrySummary] = Field(description="Those of this page.")


class OwnRegistry(Private, RegistrySummary):
    """A registry in its registrant's list, with the fields that guests do not see."""

    visibility: VisibilityShown
    status: StatusShown


class OwnRegistryList(_List):
    """A page of the customer's own registries."""

    registries: list[OwnRegistry] = Field(description="Those of this page.")


class GrantAnswer(Schema):
    """A grant that opens the registry. Send it in `X-Registry-Grant`, or as `grant` in the query."""

    grant: str = Field(examples=[GRANT], description="The grant.")
    expires_at: datetime = Field(description="Until when it opens the registry; a new access code ends it earlier.")


class Accepted(Schema):
    """What becomes of the events."""

    accepted: int = Field(
        examples=[1], description="How many of the events are accepted: they are stored within about a second."
    )
    unknown_item_ids: list[int] = Field(
        examples=[[99_999_999]],
        description="The items that the registry does not have; events about them are discarded.",
    )
