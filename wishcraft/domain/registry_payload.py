"""The JSON payload of a registry. Pure.

It must not contain an e-mail address, a place, another guest's name or an access code's hash.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from wishcraft.domain.currencies import format_money
from wishcraft.domain.inventory import stock_level
from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility
from wishcraft.domain.registry_lists import Total


class RegistryFacts(NamedTuple):
    """A registry, with the shop's settings that affect its payload."""

    id: int
    slug: str
    version: int
    title: str
    description: str
    event_type: EventType
    event_date: date | None
    first_name: str
    visibility: Visibility
    status: RegistryStatus
    owner: int | None
    """The registrant's customer id in Shopify."""
    currency: str
    co_registrants: Sequence[str]
    """First names."""
    low_stock_threshold: int
    share_url: str


class ItemFacts(NamedTuple):
    """A stored item."""

    registry_id: int
    id: int
    product_id: int
    variant_id: int
    handle: str
    product_title: str
    variant_title: str
    image: str | None
    quantity_wanted: int
    quantity_purchased: int
    priority: Priority
    notes: str
    price: Decimal
    compare_at_price: Decimal | None
    tracked: bool
    inventory_quantity: int
    available: bool
    status: ItemStatus
    display_order: int
    attribution: UUID
    """By which an order is known to be for this item."""


class Sums(NamedTuple):
    """Sums over a registry's shown items; amounts are in its currency."""

    wanted: int = 0
    purchased: int = 0
    fulfilled: int = 0
    """Purchased quantities, each capped at the quantity wanted: a surplus of one item does not fulfil another."""
    wanted_amount: Decimal = Decimal(0)
    purchased_amount: Decimal = Decimal(0)


class Summary(NamedTuple):
    """A registry as a list entry."""

    id: int
    slug: str
    title: str
    first_name: str
    co_registrants: Sequence[Mapping[str, str]]
    event_type: EventType
    event_date: date | None
    share_url: str
    image: str | None
    """The image of the first shown item that has one."""
    sums: Sums
    """Without amounts."""


def registry_payload(registry: RegistryFacts, items: Sequence[ItemFacts]) -> dict[str, Any]:
    """The payload of a registry with its items, progress and totals."""
    return compose_payload(registry, [_item_payload(item, registry) for item in items], _sums(items))


def compose_payload(registry: RegistryFacts, items: object, sums: Sums) -> dict[str, Any]:
    """The payload of a registry from its items' payloads, as values or as JSON that the caller embeds."""
    return {
        "id": registry.id,
        "slug": registry.slug,
        "share_url": registry.share_url,
        "title": registry.title,
        "description": registry.description,
        "registrants": [registry.first_name, *registry.co_registrants],
        "event": {"type": registry.event_type, "date": registry.event_date},
        "visibility": registry.visibility,
        "status": registry.status,
        "currency": registry.currency,
        "items": items,
        "progress": _progress(sums),
        "totals": {
            "wanted": format_money(sums.wanted_amount, registry.currency),
            "purchased": format_money(sums.purchased_amount, registry.currency),
        },
    }


def summary_payload(summary: Summary) -> dict[str, Any]:
    """The payload of a registry as a list entry."""
    return {
        "id": summary.id,
        "slug": summary.slug,
        "share_url": summary.share_url,
        "title": summary.title,
        "registrants": [summary.first_name, *(person["first_name"] for person in summary.co_registrants)],
        "event": {"type": summary.event_type, "date": summary.event_date},
        "image": summary.image,
        "progress": _progress(summary.sums),
    }


def page_payload(registries: Sequence[Mapping[str, Any]], total: Total, next_cursor: str | None) -> dict[str, Any]:
    """Compose one page of a list of registries, with the total and the cursor of the next page."""
    return {
        "registries": registries,
        "total": total.value,
        "total_is_exact": total.is_exact,
        "next_cursor": next_cursor,
    }


def _progress(sums: Sums) -> dict[str, int]:
    percent = 100 * sums.fulfilled // sums.wanted if sums.wanted else 0
    return {"wanted": sums.wanted, "purchased": sums.purchased, "fulfilled": sums.fulfilled, "percent": percent}


def _item_payload(item: ItemFacts, registry: RegistryFacts) -> dict[str, Any]:
    was = item.compare_at_price
    return {
        "id": item.id,
        "product_id": item.product_id,
        "variant_id": item.variant_id,
        "handle": item.handle,
        "product_title": item.product_title,
        "variant_title": item.variant_title,
        "image": item.image,
        "price": format_money(item.price, registry.currency),
        "compare_at_price": None if was is None else format_money(was, registry.currency),
        "wanted": item.quantity_wanted,
        "purchased": item.quantity_purchased,
        "remaining": max(0, item.quantity_wanted - item.quantity_purchased),
        "priority": item.priority,
        "notes": item.notes,
        "available": item.available,
        "stock": stock_level(item.inventory_quantity, item.tracked, registry.low_stock_threshold),
        "status": item.status,
        "display_order": item.display_order,
        "attribution": str(item.attribution),
    }


def _sums(items: Sequence[ItemFacts]) -> Sums:
    return Sums(
        wanted=sum(item.quantity_wanted for item in items),
        purchased=sum(item.quantity_purchased for item in items),
        fulfilled=sum(min(item.quantity_wanted, item.quantity_purchased) for item in items),
        wanted_amount=sum((item.price * item.quantity_wanted for item in items), Decimal(0)),
        purchased_amount=sum((item.price * item.quantity_purchased for item in items), Decimal(0)),
    )
