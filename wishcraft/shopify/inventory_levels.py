"""Reads the levels of inventory items from Shopify. It writes nothing."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from wishcraft.domain.batches import batches
from wishcraft.errors import in_words
from wishcraft.shopify.client import ShopifyClient
from wishcraft.shopify.graphql_queries import READ_LEVELS
from wishcraft.shopify.ids import from_global, to_global
from wishcraft.shopify.nodes import read_nodes
from wishcraft.shopify.product_payloads import LevelSnapshot
from wishcraft.shopify.values import read_integer, read_time

LOCATIONS: Final = 10
"""Levels of an item in the first query: few shops have more locations."""
ITEMS: Final = 30
"""In one query: each costs 3 points, and 3 for each level that it may have; 1,000 is the limit for a query."""
_MORE_LOCATIONS: Final = 100
"""In each further query, for one item that has more levels: far below the limit."""
_log: Final = logging.getLogger(__name__)


async def read_levels(client: ShopifyClient, shop: str, item_ids: Sequence[int]) -> dict[int, list[LevelSnapshot]]:
    """The levels of each inventory item, `ITEMS` in a query; none for an item that does not exist.

    An item whose levels cannot be stored is logged and left out.

    Raises:
        WishCraftError: As `ShopifyClient.query` does.
    """
    found: dict[int, list[LevelSnapshot]] = {}
    for ids in batches(item_ids, ITEMS):
        for item_id, node in zip(ids, await _query(client, shop, ids, LOCATIONS, None), strict=True):
            try:
                found[item_id] = await _read_all(client, shop, item_id, node) if node else []
            except (KeyError, TypeError, ValueError) as error:
                _log.error(
                    "%s: the levels of inventory item %s cannot be read: %s: %s", shop, item_id, in_words(error), error
                )
    return found


async def _read_all(client: ShopifyClient, shop: str, item_id: int, node: Mapping[str, Any]) -> list[LevelSnapshot]:
    levels = list(_levels(item_id, node))
    while (page := node["inventoryLevels"]["pageInfo"])["hasNextPage"]:
        [node] = await _query(client, shop, [item_id], _MORE_LOCATIONS, page["endCursor"])
        levels += _levels(item_id, node)
    return levels


def _levels(item_id: int, node: Mapping[str, Any]) -> Iterator[LevelSnapshot]:
    for level in node["inventoryLevels"]["nodes"]:
        location_id = read_integer(from_global("Location", level["location"]["id"]))
        available = sum(read_integer(each["quantity"]) for each in level["quantities"] if each["name"] == "available")
        yield LevelSnapshot(item_id, location_id, available, read_time(level["updatedAt"]))


async def _query(client: ShopifyClient, shop: str, item_ids: Sequence[int], first: int, after: str | None) -> list[Any]:
    ids = [to_global("InventoryItem", number) for number in item_ids]
    return await read_nodes(client, shop, READ_LEVELS, ids, first=first, after=after)
