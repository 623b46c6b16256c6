"""The answers as OpenAPI describes them. The bytes come from the core; a test holds the two together."""

from datetime import date, datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from wishcraft.domain.callers import Scope
from wishcraft.domain.inventory import StockLevel
from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility

Money = Annotated[str, Field(pattern=r"^\d+(\.\d{2})?$", examples=["12.50"], description="In the registry's currency.")]


class Schema(BaseModel):
    """No answer holds more than its schema says."""

    model_config = ConfigDict(extra="forbid")


class Event(Schema):
    """What is celebrated, and on which day in the shop's time zone."""

    type: EventType
    date: date | None


class Item(Schema):
    """A wish, and how far it is fulfilled."""

    id: int
    product_id: int = Field(description="Shopify's id of the product.")
    variant_id: int = Field(description="Shopify's id of the variant, to add to a cart.")
    handle: str
    product_title: str
    variant_title: str
    image: str | None
    price: Money
    compare_at_price: Money | None
    wanted: int
    purchased: int = Field(description="May exceed what is wanted.")
    remaining: int
    priority: Priority
    notes: str
    available: bool = Field(description="Whether it can be bought now.")
    stock: StockLevel
    status: ItemStatus


class Progress(Schema):
    """How much of what is wanted has been bought; `percent` counts no surplus."""

    wanted: int
    purchased: int
    percent: int = Field(ge=0, le=100)


class Totals(Schema):
    """What all wishes cost, and what has been bought, at today's prices."""

    wanted: Money
    purchased: Money


_EVENT: Final[dict[str, Any]] = {"type": "wedding", "date": "2027-06-12"}
_SUMMARY: Final[dict[str, Any]] = {
    "id": 100000001,
    "slug": "emma-hugos-wedding-k3j9x2mqpa",
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
}


class RegistryAnswer(Schema):
    """One registry as a guest sees it."""

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
                    "progress": {"wanted": 2, "purchased": 1, "percent": 50},
                    "totals": {"wanted": "184.00", "purchased": "92.00"},
                }
            ]
        }
    )

    id: int
    slug: str
    title: str
    description: str
    registrants: list[str] = Field(description="First names.")
    event: Event
    visibility: Visibility
    status: RegistryStatus
    currency: str = Field(examples=["EUR"])
    items: list[Item]
    progress: Progress
    totals: Totals


class RegistrySummary(Schema):
    """One line of a list."""

    id: int
    slug: str
    title: str
    event: Event


class RegistryList(Schema):
    """One page of registries, the newest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"registries": [{**_SUMMARY, "event": _EVENT}], "next_cursor": "100000001"}]}
    )

    registries: list[RegistrySummary]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last.")


class PersonShown(Schema):
    """Somebody who registered, as the registrant sees them."""

    first_name: str
    last_name: str
    email: str


class OwnRegistry(Schema):
    """A registry among its registrant's own, with what guests are not shown."""

    id: int
    slug: str
    title: str
    event: Event
    event_location: str | None
    visibility: Visibility
    status: RegistryStatus
    registrant: PersonShown
    co_registrants: list[PersonShown]


class OwnRegistryList(Schema):
    """One page of the customer's registries, the newest first."""

    registries: list[OwnRegistry]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last.")


class GrantAnswer(Schema):
    """What opens the registry from now on: show it in `X-Registry-Grant`, or as `grant` in the query."""

    grant: str
    expires_at: datetime


class Accepted(Schema):
    """How many events were taken; they are written down within a second or so."""

    accepted: int


class KeyShown(Schema):
    """An API key, without what proves it."""

    name: str
    prefix: str = Field(description="The key begins with `wc_` and this.")
    scopes: list[Scope]
    ip_allow_list: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class KeyList(Schema):
    """The shop's keys, the newest first."""

    keys: list[KeyShown]


class KeyIssued(KeyShown):
    """A new key. It is shown this once."""

    key: str


class UsageAnswer(Schema):
    """How much the shop uses the service: since its counters began (a month without a read ends them), and now."""

    hits: int = Field(description="Reads of a registry that Redis answered.")
    stale: int = Field(
        description="Reads that Redis answered with an entry past its soft expiry, which is then renewed."
    )
    misses: int = Field(description="Reads that went to PostgreSQL and filled Redis.")
    bypassed: int = Field(description="Reads that went to PostgreSQL alone, as while Redis is away.")
    bytes_sent: int
    evictions: int = Field(description="Entries given up because the shop was over its quota.")
    entries: int = Field(description="Entries held now.")
    bytes_held: int
    quota_entries: int
    quota_bytes: int
