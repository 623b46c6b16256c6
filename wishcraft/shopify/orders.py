"""Reads orders from Shopify, by the time of their last change. It writes nothing."""

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from wishcraft.errors import ShopifyAccessDenied, ShopifyQueryTooLarge, ShopifyUnavailable, in_words
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.graphql_queries import FIND_ORDERS, ORDERS_PER_PAGE, READ_ORDER_LINES, READ_ORDERS
from wishcraft.shopify.ids import from_global, to_global
from wishcraft.shopify.nodes import read_nodes

Payload = dict[str, Any]
Page = tuple[datetime, list[Payload]]
"""A time just before Shopify was queried, and the orders."""
_log: Final = logging.getLogger(__name__)
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


async def read_changed_orders(
    client: ShopifyClient, shop: str, since: datetime, until: datetime
) -> AsyncGenerator[Page, None]:
    """The orders that changed last within these times, in pages, the longest unchanged first.

    An order is as the payload of a webhook `orders/updated`, so that one function reads both. A refund is its id alone.
    Names and addresses are missing if Shopify has not approved the app's access to them.

    Raises:
        ShopifyUnavailable: An answer is not that of this query.
        WishCraftError: As `ShopifyClient.query` does.
    """
    query = f"updated_at:>='{since.astimezone(UTC):{_TIME}}' updated_at:<='{until.astimezone(UTC):{_TIME}}'"
    first, after, people = ORDERS_PER_PAGE, None, True
    while True:
        read_at, variables = datetime.now(UTC), {"query": query, "first": first, "after": after, "people": people}
        try:
            data = await client.query(shop, READ_ORDERS, variables)
        except ShopifyQueryTooLarge:
            if first == 1:
                raise
            first //= 2
            continue
        except ShopifyAccessDenied as error:
            if not people:
                raise
            _log.warning("%s: orders are read without names and addresses: %s", shop, error)
            people = False
            continue
        try:
            page = data["orders"]
            payloads = [await _payload(client, shop, node) for node in page["nodes"]]
            after = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ShopifyUnavailable(f"{shop}: the orders cannot be read: {in_words(error)}") from error
        yield read_at, payloads
        if after is None:
            return


async def find_deleted_orders(client: ShopifyClient, shop: str, order_ids: Sequence[int]) -> list[int]:
    """Find which of these orders, at most 250, do not exist. Shopify says so too of orders older than 60 days.

    Raises:
        ShopifyUnavailable: An answer is not that of this query.
        WishCraftError: As `ShopifyClient.query` does.
    """
    ids = [to_global("Order", order_id) for order_id in order_ids]
    nodes = await read_nodes(client, shop, FIND_ORDERS, ids)
    return [order_id for order_id, node in zip(order_ids, nodes, strict=True) if node is None]


async def _payload(client: ShopifyClient, shop: str, node: Mapping[str, Any]) -> Payload:
    lines, updated_at = node["lineItems"], node["updatedAt"]
    nodes = list(lines["nodes"])
    while lines["pageInfo"]["hasNextPage"]:
        variables = {"id": node["id"], "after": lines["pageInfo"]["endCursor"]}
        order = (await client.query(shop, READ_ORDER_LINES, variables))["order"]
        if order is None or order["updatedAt"] != updated_at:  # its lines would be of two states
            raise ShopifyUnavailable(f"{shop}: an order changed while it was read")
        lines = order["lineItems"]
        nodes += lines["nodes"]
    address, status = node.get("billingAddress") or {}, node["displayFinancialStatus"]
    return {
        "id": from_global("Order", node["id"]),
        "name": node["name"],
        "created_at": node["createdAt"],
        "updated_at": updated_at,
        "cancelled_at": node["cancelledAt"],
        "test": node["test"],
        "financial_status": status and status.lower(),
        "email": node.get("email"),
        "billing_address": {"first_name": address.get("firstName"), "last_name": address.get("lastName")},
        "note_attributes": _pairs(node["customAttributes"]),
        "refunds": [{"id": from_global("Refund", each["id"])} for each in node["refunds"]],
        "line_items": [_line(each) for each in nodes],
    }


def _line(node: Mapping[str, Any]) -> Payload:
    return {
        "id": from_global("LineItem", node["id"]),
        "variant_id": from_global("ProductVariant", node["variant"]["id"]) if node["variant"] else None,
        "title": node["title"],
        "quantity": node["quantity"],
        "current_quantity": node["currentQuantity"],
        "price_set": {"shop_money": {"amount": node["originalUnitPriceSet"]["shopMoney"]["amount"]}},
        "properties": _pairs(node["customAttributes"]),
    }


def _pairs(attributes: list[Mapping[str, Any]]) -> list[Payload]:
    return [{"name": each["key"], "value": each["value"]} for each in attributes]
