"""The handler of each topic."""

from collections.abc import Mapping
from typing import Final

from wishcraft.services.inventory.webhooks import handle_products, handle_stock
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.webhooks.handling import Handler

HANDLERS: Final[Mapping[str, Handler]] = {
    "orders/create": handle_orders,
    "orders/updated": handle_orders,
    "orders/edited": handle_orders,
    "orders/cancelled": handle_orders,
    "refunds/create": handle_orders,
    "products/update": handle_products,
    "products/delete": handle_products,
    "inventory_levels/update": handle_stock,
    "inventory_items/update": handle_stock,
}
