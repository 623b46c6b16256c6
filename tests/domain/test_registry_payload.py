from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from wishcraft.domain.registries import EventType, ItemStatus, Priority, RegistryStatus, Visibility
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts, registry_payload

REGISTRY = RegistryFacts(
    id=1,
    slug="ada-wedding",
    version=3,
    title="Ada's Wedding",
    description="",
    event_type=EventType.WEDDING,
    event_date=date(2026, 6, 1),
    first_name="Ada",
    visibility=Visibility.PUBLIC,
    status=RegistryStatus.ACTIVE,
    owner=7,
    currency="EUR",
    co_registrants=["Grace"],
    low_stock_threshold=5,
    share_url="https://maple.example/apps/registry/ada",
)


def item(**changes: Any) -> ItemFacts:
    plain = ItemFacts(
        registry_id=1,
        id=10,
        product_id=20,
        variant_id=30,
        handle="vase",
        product_title="Vase",
        variant_title="Sage",
        image=None,
        quantity_wanted=2,
        quantity_purchased=0,
        priority=Priority.HIGH,
        notes="",
        price=Decimal("12.50"),
        compare_at_price=None,
        tracked=True,
        inventory_quantity=9,
        available=True,
        status=ItemStatus.ACTIVE,
        display_order=0,
        attribution=UUID(int=10),
    )
    return plain._replace(**changes)


def test_progress_does_not_count_one_items_surplus_for_another() -> None:
    answer = registry_payload(REGISTRY, [item(quantity_purchased=5), item(id=11)])
    assert answer["progress"] == {"wanted": 4, "purchased": 5, "fulfilled": 2, "percent": 50}


def test_an_item_purchased_beyond_its_quantity_has_0_remaining() -> None:
    shown = registry_payload(REGISTRY, [item(quantity_purchased=5)])["items"][0]
    assert (shown["wanted"], shown["purchased"], shown["remaining"]) == (2, 5, 0)


def test_totals_have_the_currencys_decimals() -> None:
    answer = registry_payload(REGISTRY, [item(quantity_purchased=1), item(id=11, price=Decimal("0.10"))])
    assert answer["totals"] == {"wanted": "25.20", "purchased": "12.50"}


def test_an_empty_registry_has_no_progress() -> None:
    answer = registry_payload(REGISTRY, [])
    assert answer["progress"]["percent"] == 0
    assert answer["totals"] == {"wanted": "0.00", "purchased": "0.00"}


def test_registrants_are_shown_by_first_name_only() -> None:
    assert registry_payload(REGISTRY, [])["registrants"] == ["Ada", "Grace"]


@pytest.mark.parametrize(
    ("quantity", "tracked", "level"),
    [
        (9, True, "in_stock"),
        (5, True, "low"),
        (1, True, "low"),
        (0, True, "out"),
        (-3, True, "out"),
        (0, False, "in_stock"),
    ],
)
def test_the_stock_level_follows_the_shops_threshold(quantity: int, tracked: bool, level: str) -> None:
    shown = registry_payload(REGISTRY, [item(inventory_quantity=quantity, tracked=tracked)])["items"][0]
    assert shown["stock"] == level
