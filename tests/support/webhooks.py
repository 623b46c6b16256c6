"""Webhooks as Shopify sends them, and what the consumer does with a batch of them."""

import base64
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, NamedTuple
from uuid import uuid4

from tests.support.aliases import Demo
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.resources import Resources
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.handler_protocol import Handler, Message
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

NOON: Final = datetime(2026, 3, 14, 12, tzinfo=UTC)
_numbers: Final = count(1)


class WishedItem(NamedTuple):
    """An item without purchases, of an active registry of the shop."""

    id: int
    variant_id: int
    claim: str
    slug: str


def find_items(demo: Demo, shop_id: int = 1) -> list[WishedItem]:
    """Items of different registries, older than any order."""
    demo.execute("DELETE FROM purchases; DELETE FROM orders; DELETE FROM unmatched_lines")
    demo.execute("UPDATE registry_items SET quantity_purchased = 0, created_at = %s", [NOON - timedelta(days=9)])
    rows = demo.execute(
        """SELECT DISTINCT ON (r.id) i.id, i.variant_id, i.attribution::text, r.slug FROM registry_items i
           JOIN registries r ON r.id = i.registry_id
           WHERE r.shop_id = %s AND r.status = 'active' AND i.status <> 'hidden' ORDER BY r.id, i.id""",
        [shop_id],
    )
    return [WishedItem(*row) for row in rows]


def order_state(demo: Demo) -> list[list[tuple[Any, ...]]]:
    """All that webhooks of orders change."""
    queries = (
        "SELECT line_item_id, item_id, quantity, status, unit_price, purchaser_name FROM purchases ORDER BY 1",
        "SELECT line_item_id, quantity, status, claim, reason FROM unmatched_lines ORDER BY 1",
        "SELECT order_id, updated_at, triggered_at FROM orders ORDER BY 1",
        "SELECT id, quantity_purchased FROM registry_items WHERE quantity_purchased > 0 ORDER BY 1",
    )
    return [demo.execute(query.encode()).fetchall() for query in queries]


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
        "created_at": NOON.isoformat(),
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


def life_of_an_order(item: WishedItem, number: int = 0) -> list[Message]:
    """The webhooks of the order with this number, which has refunds and edits, in the order of its events."""
    start, order_number = 100 * number, 9001 + number
    bought = line(start + 1, item.variant_id, 5, item.claim)
    other = line(start + 2, item.variant_id, 1, str(uuid4()))

    def now(left: int, second: int, refunds: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
        lines = [bought | {"current_quantity": left}, other]
        return order(lines, number=order_number, second=second, refunds=refunds, **values)

    def given_back(each: int, pieces: int, second: int) -> dict[str, Any]:
        return refund(start + each, start + 1, pieces, order_number=order_number, second=second)

    def taken_off(each: int, second: int) -> dict[str, Any]:
        return edit(start + each, start + 1, -1, order_number=order_number, second=second)

    first, second = given_back(71, 1, 10), given_back(72, 2, 30)
    return [
        message("orders/create", now(5, 0, [], financial_status="pending"), 0.1),
        message("orders/updated", now(5, 0, []), 0.9),
        message("refunds/create", first, 10),
        message("orders/updated", now(4, 10, [first]), 10.5),
        message("orders/edited", taken_off(81, 20), 20),
        message("orders/updated", now(3, 20, [first]), 20.5),
        message("refunds/create", second, 30),
        message("orders/updated", now(1, 30, [first, second]), 30.5),
        message("orders/edited", taken_off(82, 40), 40),
    ]


def signed_headers(secret: str, body: bytes, topic: str, shop: str, webhook_id: str) -> dict[str, str]:
    """The headers of a webhook with this body."""
    return {
        "X-Shopify-Hmac-Sha256": base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode(),
        "X-Shopify-Topic": topic,
        "X-Shopify-Shop-Domain": shop,
        "X-Shopify-Webhook-Id": webhook_id,
    }


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
