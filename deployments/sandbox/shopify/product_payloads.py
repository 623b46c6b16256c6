"""Payloads of the webhooks about products and stock, as Shopify's REST resources have them."""

from typing import Any, Final

from deployments.sandbox.catalogue import DemoShop
from deployments.sandbox.shopify.images import image_url
from deployments.sandbox.shopify.inventory import Inventory, Variant
from deployments.sandbox.shopify.order_payloads import local_time
from wishcraft.shopify.ids import to_global

MAX_VARIANTS: Final = 100
"""In the payload of a product."""
Payload = dict[str, Any]


def product_payload(demo: DemoShop, inventory: Inventory, changed: Variant, origin: str) -> Payload:
    """The payload of `products/update`, about the product of this variant; `origin` is the shop's URL."""
    found = [variant for number in inventory.variant_ids(changed.product_id) if (variant := inventory.find(number))]
    image = {"id": changed.product_id, "product_id": changed.product_id, "position": 1, "variant_ids": []}
    image |= {"alt": None, "width": 800, "height": 800, "src": image_url(origin, changed.handle)}
    at = local_time(demo, changed.updated_at)
    return {
        "id": changed.product_id,
        "title": changed.product_title,
        "handle": changed.handle,
        "body_html": None,
        "vendor": demo.name,
        "product_type": "",
        "status": inventory.status(changed.product_id).lower(),
        "created_at": at,
        "updated_at": at,
        "published_at": at,
        "published_scope": "global",
        "template_suffix": None,
        "tags": "",
        "variants": [_variant(demo, variant, position) for position, variant in enumerate(found[:MAX_VARIANTS], 1)],
        "options": [{"id": changed.product_id, "product_id": changed.product_id, "name": "Title", "position": 1}],
        "images": [image],
        "image": image,
    }


def level_payload(demo: DemoShop, variant: Variant, location_id: int, available: int) -> Payload:
    """The payload of `inventory_levels/update`."""
    return {
        "inventory_item_id": variant.inventory_item_id,
        "location_id": location_id,
        "available": available,
        "updated_at": local_time(demo, variant.updated_at),
    }


def inventory_item_payload(demo: DemoShop, variant: Variant) -> Payload:
    """The payload of `inventory_items/update`."""
    at = local_time(demo, variant.updated_at)
    return {
        "id": variant.inventory_item_id,
        "sku": None,
        "created_at": at,
        "updated_at": at,
        "requires_shipping": True,
        "cost": None,
        "country_code_of_origin": None,
        "province_code_of_origin": None,
        "harmonized_system_code": None,
        "tracked": variant.tracked,
        "country_harmonized_system_codes": [],
        "weight_value": 0.0,
        "weight_unit": "kg",
        "admin_graphql_api_id": to_global("InventoryItem", variant.inventory_item_id),
    }


def _variant(demo: DemoShop, variant: Variant, position: int) -> Payload:
    return {
        "id": variant.variant_id,
        "product_id": variant.product_id,
        "title": variant.variant_title or "Default Title",
        "price": str(variant.price),
        "compare_at_price": None if variant.compare_at_price is None else str(variant.compare_at_price),
        "position": position,
        "inventory_policy": variant.policy.value,
        "inventory_item_id": variant.inventory_item_id,
        "inventory_quantity": variant.quantity,
        "old_inventory_quantity": variant.quantity,
        "option1": variant.variant_title or "Default Title",
        "option2": None,
        "option3": None,
        "sku": None,
        "barcode": None,
        "taxable": True,
        "image_id": None,
        "created_at": local_time(demo, variant.updated_at),
        "updated_at": local_time(demo, variant.updated_at),
    }
