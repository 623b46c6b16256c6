"""Queries of objects by their ids, `nodes(ids:)`: https://shopify.dev/docs/api/admin-graphql/latest/queries/nodes."""

from collections.abc import Sequence
from typing import Any, Final

from wishcraft.errors import ShopifyUnavailable

MAX_IDS: Final = 250
"""The largest number of ids in one query: https://shopify.dev/docs/api/usage/limits#input-array-limits"""


def check_nodes(shop: str, global_ids: Sequence[str], nodes: Sequence[Any]) -> None:
    """Raise ShopifyUnavailable unless there is a node or a null for each id: else one may count as deleted."""
    if len(nodes) != len(global_ids):
        raise ShopifyUnavailable(f"{shop}: {len(nodes)} nodes in answer to {len(global_ids)} ids")
    for global_id, node in zip(global_ids, nodes, strict=True):
        if node is not None and (not isinstance(node, dict) or node.get("id") != global_id):
            raise ShopifyUnavailable(f"{shop}: a node in answer to {global_id} is not that object")
