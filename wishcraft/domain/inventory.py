"""What Shopify says of a variant, and what follows from it for the items that want it. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class InventoryPolicy(StrEnum):
    """What Shopify does with an order for a variant that is out of stock."""

    DENY = "deny"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class VariantReading:
    """One variant as Shopify gave it: ids are the numbers in its global ids, money is in the shop's currency."""

    variant_id: int
    product_id: int
    inventory_item_id: int
    handle: str
    product_title: str
    variant_title: str
    price: Decimal
    compare_at_price: Decimal | None
    tracked: bool
    inventory_quantity: int
    inventory_policy: InventoryPolicy
    product_active: bool
    """False for a draft, archived or unlisted product: guests cannot buy it."""


def is_available(reading: VariantReading) -> bool:
    """Whether a guest can buy it: the product is sold, and stock is not counted, is left, or may go under zero."""
    return reading.product_active and (
        not reading.tracked or reading.inventory_quantity > 0 or reading.inventory_policy is InventoryPolicy.CONTINUE
    )
