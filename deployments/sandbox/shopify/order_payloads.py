"""Payloads of the webhooks about orders, as Shopify's REST resources have them: numbers as text, and much that is null.

https://shopify.dev/docs/api/webhooks
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from deployments.sandbox.catalogue import DemoShop
from deployments.sandbox.shopify.order import Customer, Order, OrderLine, Properties, Refund
from deployments.sandbox.shopify.order_money import OrderMoney
from wishcraft.shopify.ids import to_global

Payload = dict[str, Any]


def local_time(demo: DemoShop, moment: datetime) -> str:
    """A time as REST resources have it: in whole seconds, with the offset of the shop's zone."""
    return moment.astimezone(ZoneInfo(demo.timezone)).isoformat(timespec="seconds")


def order_payload(demo: DemoShop, order: Order) -> Payload:
    """The payload of `orders/create`, `orders/updated` and `orders/cancelled`."""
    money = OrderMoney(demo, order)
    return {
        "id": order.id,
        "admin_graphql_api_id": to_global("Order", order.id),
        "name": order.name,
        "order_number": int(order.name.removeprefix("#")),
        "email": order.customer.email,
        "contact_email": order.customer.email,
        "phone": None,
        "created_at": local_time(demo, order.created_at),
        "processed_at": local_time(demo, order.created_at),
        "updated_at": local_time(demo, order.updated_at),
        "cancelled_at": local_time(demo, order.cancelled_at) if order.cancelled_at else None,
        "cancel_reason": "customer" if order.cancelled_at else None,
        "closed_at": None,
        "confirmed": True,
        **money.of_order(),
        "financial_status": order.financial_status,
        "fulfillment_status": None,
        "source_name": "web",
        "test": order.is_test,
        "note": None,
        "note_attributes": _pairs(order.note_attributes),
        "tags": "",
        "customer": _customer(order.customer),
        "billing_address": {"first_name": order.customer.first_name, "last_name": order.customer.last_name},
        "shipping_address": None,
        "line_items": [_line(money, line) for line in order.lines],
        "refunds": [refund_payload(demo, order, each) for each in order.refunds],
    }


def refund_payload(demo: DemoShop, order: Order, refund: Refund) -> Payload:
    """The payload of `refunds/create`."""
    lines, money = {line.id: line for line in order.lines}, OrderMoney(demo, order)
    return {
        "id": refund.id,
        "order_id": order.id,
        "created_at": local_time(demo, refund.created_at),
        "processed_at": local_time(demo, refund.created_at),
        "note": None,
        "user_id": None,
        "refund_line_items": [
            {
                "id": refund.id + 1 + index,
                "line_item_id": line_id,
                "location_id": None,
                "quantity": pieces,
                "restock_type": "return",
                **money.with_set("subtotal", lines[line_id].price * pieces - money.discount(lines[line_id], pieces)),
                **money.with_set("total_tax", money.tax(lines[line_id], pieces)),
                "line_item": _line(money, lines[line_id]),
            }
            for index, (line_id, pieces) in enumerate(refund.pieces.items())
        ],
        "transactions": [],
    }


def edit_payload(demo: DemoShop, order: Order, edit_id: int, line_id: int, pieces: int) -> Payload:
    """The payload of `orders/edited`, about pieces that were added to a line, or removed if negative."""
    change = [{"id": line_id, "delta": abs(pieces)}]
    return {
        "order_edit": {
            "id": edit_id,
            "app_id": None,
            "created_at": local_time(demo, order.updated_at),
            "committed_at": local_time(demo, order.updated_at),
            "notify_customer": False,
            "order_id": order.id,
            "staff_note": None,
            "user_id": None,
            "line_items": {"additions": change if pieces > 0 else [], "removals": change if pieces < 0 else []},
            "discounts": {"line_item": {"additions": [], "removals": []}},
        }
    }


def _line(money: OrderMoney, line: OrderLine) -> Payload:
    return {
        "id": line.id,
        "admin_graphql_api_id": to_global("LineItem", line.id),
        "variant_id": line.variant_id,
        "product_id": line.product_id,
        "product_exists": True,
        "title": line.title,
        "variant_title": line.variant_title or None,
        "name": " - ".join(filter(None, (line.title, line.variant_title))),
        "quantity": line.ordered,
        "current_quantity": line.left,
        "fulfillable_quantity": line.left,
        "fulfillment_status": None,
        **money.of_line(line),
        "sku": None,
        "taxable": True,
        "gift_card": False,
        "properties": _pairs(line.properties),
    }


def _customer(customer: Customer) -> Payload:
    return {
        "id": customer.id,
        "email": customer.email,
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "phone": None,
        "state": "disabled",
        "tags": "",
    }


def _pairs(values: Properties) -> list[Payload]:
    return [{"name": name, "value": value} for name, value in values.items()]
