"""The handler of each topic."""

from collections.abc import Mapping
from typing import Final

from wishcraft.domain.mail_events import TOPIC as MAIL_EVENTS
from wishcraft.services.customers.webhooks import handle_merges
from wishcraft.services.inventory.finished_bulk import handle_finished_bulk
from wishcraft.services.inventory.product_webhooks import handle_products
from wishcraft.services.inventory.stock_webhooks import handle_stock
from wishcraft.services.mail_events.webhooks import handle_mail_events
from wishcraft.services.privacy.hand_over import handle_data_requests
from wishcraft.services.privacy.webhooks import handle_customer_redactions, handle_shop_redactions
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.services.shops.webhooks import handle_shop_update, handle_uninstalled
from wishcraft.services.webhooks.handler_protocol import Handler

HANDLERS: Final[Mapping[str, Handler]] = {
    "orders/create": handle_orders,
    "orders/updated": handle_orders,
    "orders/edited": handle_orders,
    "orders/cancelled": handle_orders,
    "orders/delete": handle_orders,
    "refunds/create": handle_orders,
    "customers/data_request": handle_data_requests,
    "customers/merge": handle_merges,
    "customers/redact": handle_customer_redactions,
    "shop/redact": handle_shop_redactions,
    "bulk_operations/finish": handle_finished_bulk,
    "products/update": handle_products,
    "products/delete": handle_products,
    "inventory_levels/update": handle_stock,
    "inventory_items/update": handle_stock,
    "app/uninstalled": handle_uninstalled,
    "shop/update": handle_shop_update,
    MAIL_EVENTS: handle_mail_events,
}
