import pytest
from hypothesis import given
from hypothesis import strategies as st

from wishcraft.shopify.ids import from_global, to_global


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_number_survives_conversion_to_a_global_id_and_back(number: int) -> None:
    assert from_global("ProductVariant", to_global("ProductVariant", number)) == number


def test_parameters_of_a_global_id_are_ignored() -> None:
    assert from_global("InventoryLevel", "gid://shopify/InventoryLevel/7?inventory_item_id=9") == 7


@pytest.mark.parametrize("number", ["", "-7", "7x", "\u0667", "7/8", "1" * 20])
def test_global_id_without_a_plain_number_is_refused(number: str) -> None:
    with pytest.raises(
        ValueError, match="is not the id of a ProductVariant, such as 1 or gid://shopify/ProductVariant/1"
    ):
        from_global("ProductVariant", f"gid://shopify/ProductVariant/{number}")


@pytest.mark.parametrize("value", ["7", "gid://shopify/Product/7", "", "xgid://shopify/ProductVariant/7"])
def test_global_id_of_another_kind_is_refused(value: str) -> None:
    with pytest.raises(
        ValueError, match="is not the id of a ProductVariant, such as 1 or gid://shopify/ProductVariant/1"
    ):
        from_global("ProductVariant", value)
