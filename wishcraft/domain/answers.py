"""What a guest is shown of a registry, as plain JSON values. Pure.

Nothing here may hold an e-mail address, a place, another guest's name or an access-code hash.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final, NamedTuple

from wishcraft.domain.inventory import stock_level
from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility

_WITHOUT_CENTS: Final = frozenset({"CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF", "XPF"})


class RegistryFacts(NamedTuple):
    """A registry and what its shop says of all registries."""

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


class ItemFacts(NamedTuple):
    """An item as it is stored: `priority` and `status` may be the plain strings."""

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
    priority: Priority | str
    notes: str
    price: Decimal
    compare_at_price: Decimal | None
    tracked: bool
    inventory_quantity: int
    available: bool
    status: ItemStatus | str


def format_money(amount: Decimal, currency: str) -> str:
    """The amount as a decimal string with the currency's number of decimals (ISO 4217): `12.50`, `1500`."""
    return f"{amount:.0f}" if currency in _WITHOUT_CENTS else f"{amount:.2f}"


def registry_answer(registry: RegistryFacts, items: Sequence[ItemFacts]) -> dict[str, Any]:
    """One registry with its items in their order, its progress and its totals."""
    return {
        "slug": registry.slug,
        "title": registry.title,
        "description": registry.description,
        "registrants": [registry.first_name, *registry.co_registrants],
        "event": _event(registry.event_type, registry.event_date),
        "visibility": registry.visibility,
        "status": registry.status,
        "currency": registry.currency,
        "items": [_item_answer(item, registry) for item in items],
        "progress": _progress(items),
        "totals": _totals(items, registry.currency),
    }


def summary_answer(slug: str, title: str, event_type: EventType, event_date: date | None) -> dict[str, Any]:
    """A registry as one line of a list."""
    return {"slug": slug, "title": title, "event": _event(event_type, event_date)}


def _event(event_type: EventType, event_date: date | None) -> dict[str, Any]:
    return {"type": event_type, "date": event_date.isoformat() if event_date else None}


def _item_answer(item: ItemFacts, registry: RegistryFacts) -> dict[str, Any]:
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
    }


def _progress(items: Sequence[ItemFacts]) -> dict[str, int]:
    wanted = sum(item.quantity_wanted for item in items)
    # More may be bought than is wanted; a surplus of one thing fulfils no wish for another.
    fulfilled = sum(min(item.quantity_wanted, item.quantity_purchased) for item in items)
    return {
        "wanted": wanted,
        "purchased": sum(item.quantity_purchased for item in items),
        "percent": 100 * fulfilled // wanted if wanted else 0,
    }


def _totals(items: Sequence[ItemFacts], currency: str) -> dict[str, str]:
    return {
        "wanted": format_money(sum((item.price * item.quantity_wanted for item in items), Decimal(0)), currency),
        "purchased": format_money(sum((item.price * item.quantity_purchased for item in items), Decimal(0)), currency),
    }
