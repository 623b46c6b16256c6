"""The answers as OpenAPI describes them. The bytes come from the core; a test holds the two together."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

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


class RegistryAnswer(Schema):
    """One registry as a guest sees it."""

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

    slug: str
    title: str
    event: Event


class RegistryList(Schema):
    """One page of registries, the newest first."""

    registries: list[RegistrySummary]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null on the last.")
