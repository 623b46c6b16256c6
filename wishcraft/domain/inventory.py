"""Shopify's reading of a variant, and the item status and stock level that follow from it. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from wishcraft.domain.registries import ItemStatus


class InventoryPolicy(StrEnum):
    """Whether Shopify accepts orders for a variant that is out of stock."""

    DENY = "deny"
    CONTINUE = "continue"


class StockLevel(StrEnum):
    """Stock of a variant as guests see it."""

    IN_STOCK = "in_stock"
    LOW = "low"
    OUT = "out"


WORTH_A_BULK_OPERATION_SECONDS: Final = 60
"""A bulk operation costs few points, but reads the whole catalogue and starts slowly."""


@dataclass(frozen=True, slots=True)
class VariantReading:
    """A variant as read from Shopify; ids are the numbers of its global ids, money is in the shop's currency."""

    variant_id: int
    product_id: int
    inventory_item_id: int
    handle: str
    product_title: str
    variant_title: str
    """Empty if the product has no options."""
    price: Decimal
    compare_at_price: Decimal | None
    tracked: bool
    inventory_quantity: int
    inventory_policy: InventoryPolicy
    product_active: bool
    """False for a draft or archived product: guests cannot buy it."""


@dataclass(frozen=True, slots=True)
class VariantUpdate:
    """A variant in a webhook about its product; fields as in `VariantReading`."""

    product_id: int
    inventory_item_id: int | None
    """None if it does not say."""
    handle: str
    product_title: str
    variant_title: str
    price: Decimal
    compare_at_price: Decimal | None
    inventory_policy: InventoryPolicy
    product_active: bool


def is_available(reading: VariantReading) -> bool:
    """Whether a guest can buy it: product active, and stock untracked, positive or allowed to go below 0."""
    return reading.product_active and (
        not reading.tracked or reading.inventory_quantity > 0 or reading.inventory_policy is InventoryPolicy.CONTINUE
    )


def stock_level(quantity: int, tracked: bool, low_stock_threshold: int) -> StockLevel:
    """OUT at 0 or below, LOW at or below the shop's threshold, otherwise IN_STOCK, as untracked stock always is."""
    if not tracked:
        return StockLevel.IN_STOCK
    if quantity <= 0:
        return StockLevel.OUT
    return StockLevel.LOW if quantity <= low_stock_threshold else StockLevel.IN_STOCK


def quantities_between(threshold: int, other: int) -> range:
    """The quantities whose stock level differs between two thresholds."""
    return range(min(threshold, other) + 1, max(threshold, other) + 1)


def item_status(reading: VariantReading | None) -> ItemStatus:
    """An item's status after a reading; None is a variant that Shopify has deleted.

    An item becomes ACTIVE again when its variant is back in stock or published again.
    """
    if reading is None or not reading.product_active:
        return ItemStatus.DISCONTINUED
    return ItemStatus.ACTIVE if is_available(reading) else ItemStatus.OUT_OF_STOCK


def prefers_bulk(points: float, points_per_second: float) -> bool:
    """Whether waiting for `points`, which are still missing, takes longer than a bulk operation is worth."""
    return points / points_per_second > WORTH_A_BULK_OPERATION_SECONDS
