"""Reads variants from Shopify, by id or in bulk. It changes nothing in the product's stores."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from wishcraft.domain.inventory import InventoryPolicy, VariantReading
from wishcraft.errors import ShopifyUnavailable
from wishcraft.shopify.bulk import bulk_objects
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.graphql_queries import ALL_VARIANTS, DESCRIBE_VARIANT, READ_VARIANTS
from wishcraft.shopify.ids import from_global, to_global

MAX_IDS: Final = 250
"""The largest number of ids in one `nodes` query: https://shopify.dev/docs/api/usage/limits#input-array-limits"""
POINTS_PER_VARIANT: Final = 3
"""One each for the variant, its inventory item and its product."""
POINTS_PER_BATCH: Final = MAX_IDS * POINTS_PER_VARIANT
"""Below the limit of 1,000 points per query."""


async def read_variants(client: ShopifyClient, shop: str, ids: Sequence[int]) -> dict[int, VariantReading | None]:
    """The current reading of each variant in `ids`, at most `MAX_IDS`; None for a variant that does not exist.

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
    if len(nodes) != len(global_ids):  # a missing node must not count as a deleted variant
        raise ShopifyUnavailable(f"{shop}: {len(nodes)} nodes in answer to {len(global_ids)} ids")
    readings = [_reading(node) for node in nodes if node]
    return dict.fromkeys(ids) | {reading.variant_id: reading for reading in readings}


async def describe_variant(
    client: ShopifyClient, shop: str, variant_id: int
) -> tuple[VariantReading, str | None] | None:
    """The variant's current reading and the URL of its picture, if any; None if the variant does not exist.

    Raises:
        WishCraftError: As `ShopifyClient.query` does.
    """
    ids = [to_global("ProductVariant", variant_id)]
    nodes = (await client.query(shop, DESCRIBE_VARIANT, {"ids": ids}))["nodes"]
    return (_reading(nodes[0]), _picture(nodes[0])) if nodes and nodes[0] else None


async def bulk_read_variants(client: ShopifyClient, shop: str) -> AsyncGenerator[VariantReading, None]:
    """The current reading of every variant of the shop, in no particular order, one at a time.

    It costs 11 points and some waiting for any size of catalogue, which suits large ones.

    Raises:
        WishCraftError: As `bulk_objects` does; the readings yielded before are then incomplete.
    """
    async with aclosing(bulk_objects(client, shop, ALL_VARIANTS)) as records:
        async for record in records:
            yield _reading(record)


def _picture(node: Mapping[str, Any]) -> str | None:
    for media in (*node["media"]["nodes"], node["product"]["featuredMedia"]):
        if media and media["preview"] and media["preview"]["image"]:
            return str(media["preview"]["image"]["url"])
    return None


def _reading(node: Mapping[str, Any]) -> VariantReading:
    try:
        item, product, compare_at = node["inventoryItem"], node["product"], node["compareAtPrice"]
        return VariantReading(
            variant_id=from_global("ProductVariant", node["id"]),
            product_id=from_global("Product", product["id"]),
            inventory_item_id=from_global("InventoryItem", item["id"]),
            handle=product["handle"],
            product_title=product["title"],
            variant_title=node["title"],
            price=Decimal(node["price"]),
            compare_at_price=None if compare_at is None else Decimal(compare_at),
            tracked=item["tracked"],
            inventory_quantity=node["inventoryQuantity"] or 0,
            inventory_policy=InventoryPolicy(node["inventoryPolicy"].lower()),
            product_active=product["status"] == "ACTIVE",
        )
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise ShopifyUnavailable(f"Shopify sent a variant that cannot be read: {error!r}") from error
