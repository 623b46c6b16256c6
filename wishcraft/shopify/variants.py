"""Reads variants from Shopify, by id or in bulk. It changes nothing in the product's stores."""

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from wishcraft.domain.currencies import MAX_AMOUNT
from wishcraft.domain.inventory import InventoryPolicy, VariantReading
from wishcraft.errors import ShopifyUnavailable, VariantUnreadable
from wishcraft.shopify.bulk import bulk_objects
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.graphql_queries import ALL_VARIANTS, DESCRIBE_VARIANTS, READ_VARIANTS
from wishcraft.shopify.ids import from_global, to_global

MAX_IDS: Final = 250
"""The largest number of ids in one `nodes` query: https://shopify.dev/docs/api/usage/limits#input-array-limits"""
POINTS_PER_VARIANT: Final = 3
"""One each for the variant, its inventory item and its product."""
POINTS_PER_BATCH: Final = MAX_IDS * POINTS_PER_VARIANT
"""Below the limit of 1,000 points per query."""
MAX_DESCRIBED: Final = 50
"""Of 12 points each, so that a query stays below the limit too."""
_SOLD: Final = frozenset({"ACTIVE", "UNLISTED"})
"""Guests buy an unlisted product by its link, which a registry has."""
_NO_OPTIONS: Final = "Default Title"
"""Shopify's title for the only variant of a product without options."""
_MAX_INTEGER: Final = 2**63 - 1
_log: Final = logging.getLogger(__name__)


async def read_variants(client: ShopifyClient, shop: str, ids: Sequence[int]) -> dict[int, VariantReading | None]:
    """The current reading of each variant in `ids`, at most `MAX_IDS`; None for a variant that does not exist.

    A variant whose values cannot be stored is logged and left out.

    Raises:
        ValueError: More than `MAX_IDS` ids.
        WishCraftError: As `ShopifyClient.query` does.
    """
    if len(ids) > MAX_IDS:
        raise ValueError(f"{len(ids)} ids; at most {MAX_IDS} at once")
    if not ids:
        return {}
    global_ids = [to_global("ProductVariant", number) for number in ids]
    nodes = (await client.query(shop, READ_VARIANTS, {"ids": global_ids}))["nodes"]
    _check_nodes(shop, global_ids, nodes)
    return {
        number: reading
        for number, node in zip(ids, nodes, strict=True)
        for reading in ([None] if node is None else _readings(shop, node))
    }


async def describe_variants(
    client: ShopifyClient, shop: str, ids: Sequence[int]
) -> dict[int, tuple[VariantReading, str | None] | None]:
    """The current reading of each variant in `ids`, at most `MAX_DESCRIBED`, and the URL of its picture, if any.

    None for a variant that does not exist. A variant whose values cannot be stored is logged and left out.

    Raises:
        ValueError: More than `MAX_DESCRIBED` ids.
        WishCraftError: As `ShopifyClient.query` does.
    """
    if len(ids) > MAX_DESCRIBED:
        raise ValueError(f"{len(ids)} ids; at most {MAX_DESCRIBED} at once")
    global_ids = [to_global("ProductVariant", number) for number in ids]
    nodes = (await client.query(shop, DESCRIBE_VARIANTS, {"ids": global_ids}))["nodes"]
    _check_nodes(shop, global_ids, nodes)
    described: dict[int, tuple[VariantReading, str | None] | None] = {}
    for number, node in zip(ids, nodes, strict=True):
        try:
            described[number] = None if node is None else (_reading(node), _picture(node))
        except VariantUnreadable as error:  # customers cause it: at level ERROR they could flood Sentry
            _log.warning("%s: %s", shop, error)
    return described


async def bulk_read_variants(client: ShopifyClient, shop: str) -> AsyncGenerator[VariantReading, None]:
    """The current reading of every variant of the shop, in no particular order, one at a time.

    It costs 11 points and some waiting for any size of catalogue, which suits large ones. A variant whose values cannot
    be stored is logged and left out.

    Raises:
        WishCraftError: As `bulk_objects` does; the readings yielded before are then incomplete.
    """
    async with aclosing(bulk_objects(client, shop, ALL_VARIANTS)) as records:
        async for record in records:
            for reading in _readings(shop, record):
                yield reading


def _check_nodes(shop: str, global_ids: Sequence[str], nodes: Sequence[Any]) -> None:
    """Raise ShopifyUnavailable unless there is a node or a null for each id: else one may count as deleted."""
    if len(nodes) != len(global_ids):
        raise ShopifyUnavailable(f"{shop}: {len(nodes)} nodes in answer to {len(global_ids)} ids")
    for global_id, node in zip(global_ids, nodes, strict=True):
        if node is not None and (not isinstance(node, dict) or node.get("id") != global_id):
            raise ShopifyUnavailable(f"{shop}: a node in answer to {global_id} is not that variant")


def _readings(shop: str, node: Mapping[str, Any]) -> list[VariantReading]:
    """The node's reading, or none if it is not readable: one variant must not end the sync of its shop."""
    try:
        return [_reading(node)]
    except VariantUnreadable as error:
        _log.error("%s: %s", shop, error)
        return []


def _picture(node: Mapping[str, Any]) -> str | None:
    try:
        for media in (*node["media"]["nodes"], node["product"]["featuredMedia"]):
            if media and media["preview"] and media["preview"]["image"]:
                return _text(media["preview"]["image"]["url"])
    except (KeyError, TypeError) as error:
        raise VariantUnreadable(f"the picture of the variant {node['id']!r} cannot be read: {error!r}") from error
    return None


def _reading(node: Mapping[str, Any]) -> VariantReading:
    try:
        item, product, compare_at = node["inventoryItem"], node["product"], node["compareAtPrice"]
        return VariantReading(
            variant_id=_integer(from_global("ProductVariant", node["id"])),
            product_id=_integer(from_global("Product", product["id"])),
            inventory_item_id=_integer(from_global("InventoryItem", item["id"])),
            handle=_text(product["handle"]),
            product_title=_text(product["title"]),
            variant_title="" if node["title"] == _NO_OPTIONS else _text(node["title"]),
            price=_amount(node["price"]),
            compare_at_price=None if compare_at is None else _amount(compare_at),
            tracked=_flag(item["tracked"]),
            inventory_quantity=_integer(node["inventoryQuantity"] or 0),
            inventory_policy=InventoryPolicy(node["inventoryPolicy"].lower()),
            product_active=product["status"] in _SOLD,
        )
    except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise VariantUnreadable(f"the variant {node.get('id')!r} cannot be read: {error!r}") from error


def _text(value: object) -> str:
    """A text without NUL characters, which PostgreSQL does not store."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value.replace("\0", "")


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is neither true nor false")
    return value


def _integer(value: object) -> int:
    if not isinstance(value, int) or abs(value) > _MAX_INTEGER:
        raise ValueError(f"{value!r} is no integer of 64 bits")
    return value


def _amount(value: object) -> Decimal:
    """An amount of money that its column can hold."""
    amount = Decimal(_text(value))
    if not (amount.is_finite() and 0 <= amount <= MAX_AMOUNT):
        raise ValueError(f"the amount {value} is out of range")
    return amount
