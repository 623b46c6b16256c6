"""Webhooks as Shopify sends them, and what the consumer does with a batch of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.resources import Resources
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.handling import Handler, Message
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

NOON: Final = datetime(2026, 3, 14, 12, tzinfo=UTC)
_numbers: Final = count(1)


def message(topic: str, payload: dict[str, Any], second: float = 0) -> Message:
    """A webhook whose event happened so many seconds after `NOON`."""
    return Message(next(_numbers), topic, NOON + timedelta(seconds=second), NOON, payload)


async def apply(
    resources: Resources, shop: ShopRef, handler: Handler, messages: Sequence[Message]
) -> dict[int, WebhookOutcome]:
    """Handle the webhooks in one batch; the outcomes by message id."""
    effect = await handler(resources, shop, messages)
    actor = Actor(shop.id, "webhook")
    async with registry_write(resources, actor, sorted(effect.registry_ids), on_cache_down="announce") as write:
        outcomes = dict(await effect.apply(write))
    if effect.after_commit:
        await effect.after_commit()
    return {each.id: WebhookOutcome.APPLIED for each in messages} | outcomes


def order(lines: Sequence[dict[str, Any]], *, number: int = 9001, second: int = 0, **values: object) -> dict[str, Any]:
    """The payload of an order as it is so many seconds after `NOON`."""
    return {
        "id": number,
        "name": f"#{number}",
        "test": False,
        "updated_at": (NOON + timedelta(seconds=second)).isoformat(),
        "cancelled_at": None,
        "financial_status": "paid",
        "email": "gast@example.com",
        "customer": {"first_name": "Ada", "last_name": "Byron"},
        "note_attributes": [],
        "line_items": list(lines),
        "refunds": [],
        **values,
    }


def line(number: int, variant_id: int | None, quantity: int = 1, claim: str = "", **values: object) -> dict[str, Any]:
    """The payload of a line item; `claim` is the attribution of an item."""
    return {
        "id": number,
        "variant_id": variant_id,
        "product_id": 1,
        "title": "Vase",
        "quantity": quantity,
        "current_quantity": quantity,
        "price": "99.00",
        "price_set": {"shop_money": {"amount": "12.50", "currency_code": "USD"}},
        "properties": [{"name": "_registry_item", "value": claim}] if claim else [],
        **values,
    }


def refund(number: int, line_id: int, quantity: int, *, order_number: int = 9001, second: int = 0) -> dict[str, Any]:
    """The payload of a refund of one line item."""
    return {
        "id": number,
        "order_id": order_number,
        "created_at": (NOON + timedelta(seconds=second)).isoformat(),
        "refund_line_items": [{"line_item_id": line_id, "quantity": quantity}],
    }


def edit(number: int, line_id: int, delta: int, *, order_number: int = 9001, second: int = 0) -> dict[str, Any]:
    """The payload of an edit that changes the pieces of one line item by `delta`."""
    kind = "additions" if delta > 0 else "removals"
    changes = {"additions": [], "removals": [], kind: [{"id": line_id, "delta": abs(delta)}]}
    committed_at = (NOON + timedelta(seconds=second)).isoformat()
    return {"order_edit": {"id": number, "order_id": order_number, "committed_at": committed_at, "line_items": changes}}


def product(number: int, variants: Sequence[dict[str, Any]], *, second: float = 0, **values: object) -> dict[str, Any]:
    """The payload of a product as it is so many seconds after `NOON`."""
    return {
        "id": number,
        "title": "Vase",
        "handle": "vase",
        "status": "active",
        "updated_at": (NOON + timedelta(seconds=second)).isoformat(timespec="seconds"),
        "variants": list(variants),
        **values,
    }


def variant(number: int, price: str = "12.50", **values: object) -> dict[str, Any]:
    """The payload of a product's variant."""
    return {
        "id": number,
        "title": "Default Title",
        "price": price,
        "compare_at_price": None,
        "inventory_policy": "deny",
        "inventory_item_id": None,
        "inventory_quantity": 123_456,
        **values,
    }


def level(
    item_id: int, available: int | None, *, location: int = 71, second: float = 0, **values: object
) -> dict[str, Any]:
    """The payload of a level as it is so many seconds after `NOON`."""
    return {
        "inventory_item_id": item_id,
        "location_id": location,
        "available": available,
        "updated_at": (NOON + timedelta(seconds=second)).isoformat(timespec="seconds"),
        **values,
    }


def inventory_item(number: int, *, tracked: bool, second: float = 0, **values: object) -> dict[str, Any]:
    """The payload of an inventory item as it is so many seconds after `NOON`."""
    updated_at = (NOON + timedelta(seconds=second)).isoformat(timespec="seconds")
    return {"id": number, "tracked": tracked, "updated_at": updated_at, **values}
