"""What Shopify says of a variant, and what follows from it for the items that want it. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from wishcraft.domain.registries import ItemStatus


class InventoryPolicy(StrEnum):
    """What Shopify does with an order for a variant that is out of stock."""

    DENY = "deny"
    CONTINUE = "continue"


class StockLevel(StrEnum):
    """How much of a variant is left, as a guest is told it."""

    IN_STOCK = "in_stock"
    LOW = "low"
    OUT = "out"


WORTH_A_BULK_OPERATION_SECONDS: Final = 60
"""A bulk operation costs few points but reads the whole catalogue, and takes its time to start."""


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


def stock_level(quantity: int, tracked: bool, low_stock_threshold: int) -> StockLevel:
    """Out at or under 0, low at or under the shop's threshold; what is not counted is always in stock."""
    if not tracked:
        return StockLevel.IN_STOCK
    if quantity <= 0:
        return StockLevel.OUT
    return StockLevel.LOW if quantity <= low_stock_threshold else StockLevel.IN_STOCK


def item_status(reading: VariantReading | None) -> ItemStatus:
    """The status that an item takes from a reading; `None` is a variant that Shopify no longer has.

    Works both ways: what comes back to the shop or into stock becomes active again.
    """
    if reading is None or not reading.product_active:
        return ItemStatus.DISCONTINUED
    return ItemStatus.ACTIVE if is_available(reading) else ItemStatus.OUT_OF_STOCK


def prefers_bulk(points: float, points_per_second: float) -> bool:
    """Whether reading by id would wait so long for `points` that are yet to come that a bulk operation is better."""
    return points / points_per_second > WORTH_A_BULK_OPERATION_SECONDS
