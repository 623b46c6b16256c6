"""Reading variants from Shopify, by id or all of them. What the readings change is not decided here."""

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

MOST_IDS: Final = 250
"""The most ids that `nodes` takes: https://shopify.dev/docs/api/usage/limits#input-array-limits"""
POINTS_PER_VARIANT: Final = 3
"""The variant, its inventory item and its product."""
POINTS_PER_BATCH: Final = MOST_IDS * POINTS_PER_VARIANT
"""Under the 1,000 points that one query may cost."""


async def read_variants(client: ShopifyClient, shop: str, ids: Sequence[int]) -> dict[int, VariantReading | None]:
    """The current reading of each variant in `ids`, at most `MOST_IDS`; None for one that Shopify no longer has.

    Raises:
        ValueError: More than `MOST_IDS` ids.
        WishCraftError: As `ShopifyClient.query` does.
    """
    if len(ids) > MOST_IDS:
        raise ValueError(f"{len(ids)} ids; at most {MOST_IDS} at once")
    if not ids:
        return {}
    wanted = [to_global("ProductVariant", number) for number in ids]
    nodes = (await client.query(shop, READ_VARIANTS, {"ids": wanted}))["nodes"]
    if len(nodes) != len(wanted):  # or else what is missing would be taken for deleted
        raise ShopifyUnavailable(f"{shop}: {len(nodes)} nodes in answer to {len(wanted)} ids")
    readings = [_reading(node) for node in nodes if node]
    return dict.fromkeys(ids) | {reading.variant_id: reading for reading in readings}


async def describe_variant(
    client: ShopifyClient, shop: str, variant_id: int
) -> tuple[VariantReading, str | None] | None:
    """The variant's current reading and the address of its picture, if it has one; None if Shopify has no such variant.

    Raises:
        WishCraftError: As `ShopifyClient.query` does.
    """
    ids = [to_global("ProductVariant", variant_id)]
    nodes = (await client.query(shop, DESCRIBE_VARIANT, {"ids": ids}))["nodes"]
    return (_reading(nodes[0]), _picture(nodes[0])) if nodes and nodes[0] else None


async def bulk_read_variants(client: ShopifyClient, shop: str) -> AsyncGenerator[VariantReading, None]:
    """The current reading of every variant of the shop, in no particular order, one at a time.

    It costs 11 points and some waiting, whatever the size of the catalogue: the choice for large ones.

    Raises:
        WishCraftError: As `bulk_objects` does; what was yielded before is then not the whole.
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
