"""Readings of variants."""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from wishcraft.domain.inventory import InventoryPolicy, VariantReading

READING: Final = VariantReading(
    variant_id=5,
    product_id=6,
    inventory_item_id=7,
    handle="vase",
    product_title="Väse",
    variant_title="Sage",
    price=Decimal("12.3456"),
    compare_at_price=None,
    tracked=True,
    inventory_quantity=-2,
    inventory_policy=InventoryPolicy.CONTINUE,
    product_active=True,
)


def reading(**values: Any) -> VariantReading:
    """A reading with these values."""
    return replace(READING, **values)
