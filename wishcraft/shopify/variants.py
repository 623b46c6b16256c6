"""Reads variants from Shopify, by id or in bulk. It writes nothing."""

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from decimal import InvalidOperation
from typing import Any, Final

from wishcraft.domain.inventory import InventoryPolicy, VariantReading
from wishcraft.errors import VariantUnreadable, in_words
from wishcraft.shopify.bulk import bulk_objects
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.graphql_queries import ALL_VARIANTS, DESCRIBE_VARIANTS, READ_VARIANTS
from wishcraft.shopify.ids import from_global, to_global
from wishcraft.shopify.nodes import MAX_IDS, read_nodes
from wishcraft.shopify.values import (
    SOLD,
    read_amount,
    read_flag,
    read_former_price,
    read_integer,
    read_text,
    read_variant_title,
)

POINTS_PER_VARIANT: Final = 3
"""One each for the variant, its inventory item and its product: `MAX_IDS` stay below the 1,000 points of a query."""
MAX_DESCRIBED: Final = 50
"""Of 12 points each, so that a query stays below the limit too."""
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
    nodes = await read_nodes(client, shop, READ_VARIANTS, global_ids)
    return {
        number: reading
        for number, node in zip(ids, nodes, strict=True)
        for reading in ([None] if node is None else _readings(shop, node))
    }


async def describe_variants(
    client: ShopifyClient, shop: str, ids: Sequence[int]
) -> dict[int, tuple[VariantReading, str | None] | None]:
    """The current reading of each variant in `ids`, at most `MAX_DESCRIBED`, and the URL of its image, if any.

    None for a variant that does not exist. A variant whose values cannot be stored is logged and left out.

    Raises:
        ValueError: More than `MAX_DESCRIBED` ids.
        WishCraftError: As `ShopifyClient.query` does.
    """
    if len(ids) > MAX_DESCRIBED:
        raise ValueError(f"{len(ids)} ids; at most {MAX_DESCRIBED} at once")
    global_ids = [to_global("ProductVariant", number) for number in ids]
    nodes = await read_nodes(client, shop, DESCRIBE_VARIANTS, global_ids)
    described: dict[int, tuple[VariantReading, str | None] | None] = {}
    for number, node in zip(ids, nodes, strict=True):
        try:
            described[number] = None if node is None else (_reading(node), _image(node))
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


def _readings(shop: str, node: Mapping[str, Any]) -> list[VariantReading]:
    """The node's reading, or none if it is not readable: one variant must not end the sync of its shop."""
    try:
        return [_reading(node)]
    except VariantUnreadable as error:
        _log.error("%s: %s", shop, error)
        return []


def _image(node: Mapping[str, Any]) -> str | None:
    try:
        for media in (*node["media"]["nodes"], node["product"]["featuredMedia"]):
            if media and media["preview"] and media["preview"]["image"]:
                return read_text(media["preview"]["image"]["url"])
    except (KeyError, TypeError) as error:
        raise VariantUnreadable(
            f"the image of the variant {node['id']} cannot be read: {in_words(error)}: {error}"
        ) from error
    return None


def _reading(node: Mapping[str, Any]) -> VariantReading:
    try:
        item, product, price = node["inventoryItem"], node["product"], read_amount(node["price"])
        return VariantReading(
            variant_id=read_integer(from_global("ProductVariant", node["id"])),
            product_id=read_integer(from_global("Product", product["id"])),
            inventory_item_id=read_integer(from_global("InventoryItem", item["id"])),
            handle=read_text(product["handle"]),
            product_title=read_text(product["title"]),
            variant_title=read_variant_title(node["title"]),
            price=price,
            compare_at_price=read_former_price(node["compareAtPrice"], price),
            tracked=read_flag(item["tracked"]),
            inventory_quantity=read_integer(node["inventoryQuantity"] or 0),
            inventory_policy=InventoryPolicy(node["inventoryPolicy"].lower()),
            product_active=product["status"] in SOLD,
        )
    except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise VariantUnreadable(f"the variant {node.get('id')} cannot be read: {in_words(error)}: {error}") from error
