"""The handler of each topic."""

from collections.abc import Mapping
from typing import Final

from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.shops.lifecycle import handle_shop_update, handle_uninstalled
from wishcraft.services.webhooks.handling import Handler

HANDLERS: Final[Mapping[str, Handler]] = {
    "orders/create": handle_orders,
    "orders/updated": handle_orders,
    "orders/edited": handle_orders,
    "orders/cancelled": handle_orders,
    "refunds/create": handle_orders,
    "app/uninstalled": handle_uninstalled,
    "shop/update": handle_shop_update,
}
