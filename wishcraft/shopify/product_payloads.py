"""Payloads of the webhooks `products/*`, `inventory_levels/update` and `inventory_items/update`.

https://shopify.dev/docs/api/webhooks has their fields. A product's payload has 100 of its variants at most, and says
nothing of whether they are tracked; its stock is left to the levels: each change of one has a webhook of its own.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import InvalidOperation
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from wishcraft.domain.inventory import InventoryPolicy, VariantUpdate
from wishcraft.errors import PayloadInvalid
from wishcraft.shopify.values import (
    SOLD,
    read_amount,
    read_flag,
    read_former_price,
    read_id,
    read_integer,
    read_text,
    read_time,
    read_variant_title,
)

MAX_PIECES: Final = 1_000_000_000
"""The most that Shopify takes for a level, in either direction."""
Value = TypeVar("Value")


class ProductSnapshot(NamedTuple):
    """A product as a webhook has it."""

    product_id: int
    updated_at: datetime | None
    variants: Mapping[int, VariantUpdate]
    """The first 100 by id."""


class LevelSnapshot(NamedTuple):
    """The pieces that a location has of an inventory item, as a webhook has them."""

    inventory_item_id: int
    location_id: int
    available: int
    """0 if the location does not stock it."""
    updated_at: datetime | None


class InventoryItemSnapshot(NamedTuple):
    """An inventory item as a webhook has it."""

    inventory_item_id: int
    tracked: bool
    updated_at: datetime | None


def read_product(payload: Mapping[str, Any]) -> ProductSnapshot:
    """The product that a `products/update` webhook has.

    Raises:
        PayloadInvalid: A field is missing or unusable.
    """
    product_id = _read(payload, "id", read_id)
    facts = {
        "product_id": product_id,
        "handle": _read(payload, "handle", read_text),
        "product_title": _read(payload, "title", read_text),
        "product_active": _read(payload, "status", read_text).upper() in SOLD,
    }
    variants = [_read_variant(each, facts) for each in _read(payload, "variants", _list)]
    return ProductSnapshot(product_id, _read_time(payload), dict(variants))


def read_deleted_product(payload: Mapping[str, Any]) -> int:
    """The id of the product that a `products/delete` webhook names.

    Raises:
        PayloadInvalid: There is no id.
    """
    return _read(payload, "id", read_id)


def read_level(payload: Mapping[str, Any]) -> LevelSnapshot:
    """The level that an `inventory_levels/update` webhook has.

    Raises:
        PayloadInvalid: A field is missing or unusable.
    """
    available = 0 if payload.get("available") is None else _read(payload, "available", read_integer)
    if abs(available) > MAX_PIECES:
        raise PayloadInvalid("available is out of range.")
    item_id, location_id = (_read(payload, name, read_id) for name in ("inventory_item_id", "location_id"))
    return LevelSnapshot(item_id, location_id, available, _read_time(payload))


def read_inventory_item(payload: Mapping[str, Any]) -> InventoryItemSnapshot:
    """Read the payload of an `inventory_items/update` webhook.

    Raises:
        PayloadInvalid: A field is missing or unusable.
    """
    return InventoryItemSnapshot(
        _read(payload, "id", read_id), _read(payload, "tracked", read_flag), _read_time(payload)
    )


def _read_variant(variant: object, facts: Mapping[str, Any]) -> tuple[int, VariantUpdate]:
    if not isinstance(variant, Mapping):
        raise PayloadInvalid("A variant is not an object.")
    has_item, price = variant.get("inventory_item_id") is not None, _read(variant, "price", read_amount)
    return _read(variant, "id", read_id), VariantUpdate(
        **facts,
        inventory_item_id=_read(variant, "inventory_item_id", read_id) if has_item else None,
        variant_title=_read(variant, "title", read_variant_title),
        price=price,
        compare_at_price=_read(variant, "compare_at_price", partial(read_former_price, price=price)),
        inventory_policy=_read(variant, "inventory_policy", InventoryPolicy),
    )


def _read_time(payload: Mapping[str, Any]) -> datetime | None:
    return None if payload.get("updated_at") is None else _read(payload, "updated_at", read_time)


def _read(source: Mapping[str, Any], name: str, read: Callable[[Any], Value]) -> Value:
    try:
        return read(source.get(name))
    except (TypeError, ValueError, InvalidOperation):
        raise PayloadInvalid(f"{name} is missing or unusable.") from None


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return value
