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
def test_what_is_sold_and_left_or_not_counted_or_may_go_under_zero_is_available(
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
def test_an_item_takes_its_status_from_the_reading(read: VariantReading | None, status: ItemStatus) -> None:
    assert item_status(read) is status


def test_a_bulk_operation_is_preferred_when_reading_by_id_would_wait_long_for_points() -> None:
    assert not prefers_bulk(6_000, points_per_second=100)
    assert prefers_bulk(6_001, points_per_second=100)
    assert not prefers_bulk(6_001, points_per_second=1000)
