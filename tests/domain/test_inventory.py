from decimal import Decimal

import pytest

from wishcraft.domain.inventory import InventoryPolicy, VariantReading, is_available, item_status, prefers_bulk
from wishcraft.domain.registries import ItemStatus


def reading(
    quantity: int = 3,
    *,
    tracked: bool = True,
    policy: InventoryPolicy = InventoryPolicy.DENY,
    product_active: bool = True,
) -> VariantReading:
    return VariantReading(
        variant_id=1,
        product_id=2,
        inventory_item_id=3,
        handle="vase",
        product_title="Vase",
        variant_title="Sage",
        price=Decimal(10),
        compare_at_price=None,
        tracked=tracked,
        inventory_quantity=quantity,
        inventory_policy=policy,
        product_active=product_active,
    )


@pytest.mark.parametrize(
    ("read", "available"),
    [
        (reading(3), True),
        (reading(0), False),
        (reading(-2), False),
        (reading(0, tracked=False), True),
        (reading(0, policy=InventoryPolicy.CONTINUE), True),
        (reading(3, product_active=False), False),
        (reading(0, tracked=False, product_active=False), False),
    ],
)
def test_a_variant_is_available_if_active_and_in_stock_untracked_or_oversellable(
    read: VariantReading, available: bool
) -> None:
    assert is_available(read) is available


@pytest.mark.parametrize(
    ("read", "status"),
    [
        (reading(3), ItemStatus.ACTIVE),
        (reading(0), ItemStatus.OUT_OF_STOCK),
        (reading(3, product_active=False), ItemStatus.DISCONTINUED),
        (None, ItemStatus.DISCONTINUED),
    ],
)
def test_an_items_status_follows_from_the_reading(read: VariantReading | None, status: ItemStatus) -> None:
    assert item_status(read) is status


def test_a_bulk_operation_is_preferred_to_a_long_wait_for_points() -> None:
    assert not prefers_bulk(6_000, points_per_second=100)
    assert prefers_bulk(6_001, points_per_second=100)
    assert not prefers_bulk(6_001, points_per_second=1000)
