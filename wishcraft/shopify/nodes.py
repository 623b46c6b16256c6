"""Queries of objects by their ids, `nodes(ids:)`: https://shopify.dev/docs/api/admin-graphql/latest/queries/nodes."""

from collections.abc import Sequence
from typing import Any, Final

from wishcraft.errors import ShopifyQueryTooLarge, ShopifyUnavailable
from wishcraft.shopify.client import ShopifyClient

MAX_IDS: Final = 250
"""The largest number of ids in one query: https://shopify.dev/docs/api/usage/limits#input-array-limits"""


async def read_nodes(
    client: ShopifyClient, shop: str, query: str, global_ids: Sequence[str], **variables: object
) -> list[Any]:
    """The node of each of these ids, at most `MAX_IDS`, None for one that does not exist.

    Shopify does not publish what each field costs: if the query costs too much, it asks for half of the ids at once.

    Raises:
        ShopifyUnavailable: Not a node or a null for each id: else one may count as deleted.
        WishCraftError: As `ShopifyClient.query` does.
    """
    try:
        nodes = (await client.query(shop, query, {"ids": list(global_ids), **variables}))["nodes"]
    except ShopifyQueryTooLarge:
        if len(global_ids) == 1:
            raise
        halves = global_ids[: len(global_ids) // 2], global_ids[len(global_ids) // 2 :]
        return [node for half in halves for node in await read_nodes(client, shop, query, half, **variables)]
    if len(nodes) != len(global_ids):
        raise ShopifyUnavailable(f"{shop}: {len(nodes)} nodes in answer to {len(global_ids)} ids")
    for global_id, node in zip(global_ids, nodes, strict=True):
        if node is not None and (not isinstance(node, dict) or node.get("id") != global_id):
            raise ShopifyUnavailable(f"{shop}: a node in answer to {global_id} is not that object")
    return list(nodes)
