"""A shop's inventory as GraphQL objects: dictionaries by field name, with functions for lazy fields.

`graphql-core` calls such a function with the resolver's `info` and the field's arguments.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from graphql import GraphQLResolveInfo

from deployments.sandbox.shopify.images import image_url
from deployments.sandbox.shopify.inventory import Inventory, ProductStatus, Variant, page
from wishcraft.domain.inventory import InventoryPolicy
from wishcraft.shopify.ids import from_global, to_global

_EVERYTHING: Final = 1_000_000
_SOLD: Final = frozenset({ProductStatus.ACTIVE, ProductStatus.UNLISTED})

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """Context of a bulk execution: the root connection yields this range, nested connections yield everything."""

    start: int
    size: int


class Nodes:
    """The GraphQL objects of one shop's inventory."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def find(self, global_id: str) -> Node | None:
        """The variant, product or inventory item with this id, or None."""
        plain = global_id.partition("?")[0]
        kind = plain.split("/")[3]
        return {"ProductVariant": self._variant_at, "Product": self._product_at, "InventoryItem": self._item_at}.get(
            kind, lambda _: None
        )(from_global(kind, plain))

    def variants(self, info: GraphQLResolveInfo[Any], **arguments: Any) -> Node:
        """The shop's variants."""
        return _connection(self._inventory.variant_ids(), self._variant_at, info, arguments)

    def products(self, info: GraphQLResolveInfo[Any], **arguments: Any) -> Node:
        """The shop's products."""
        return _connection(self._inventory.product_ids(), self._product_at, info, arguments)

    def _variant_at(self, number: int) -> Node | None:
        variant = self._inventory.find(number)
        return self._variant(variant) if variant else None

    def _product_at(self, number: int) -> Node | None:
        ids = self._inventory.variant_ids(number)
        variant = self._inventory.find(ids[0]) if ids else None
        return self._product(variant) if variant else None

    def _item_at(self, number: int) -> Node | None:
        variant = self._inventory.find_by_inventory_item(number)
        return self._item(variant) if variant else None

    def _variant(self, v: Variant) -> Node:
        sellable = not v.tracked or v.quantity > 0 or v.policy is InventoryPolicy.CONTINUE
        return {
            "__typename": "ProductVariant",
            "id": to_global("ProductVariant", v.variant_id),
            "legacyResourceId": str(v.variant_id),
            "title": v.variant_title or "Default Title",
            "displayName": " - ".join(filter(None, (v.product_title, v.variant_title))),
            "price": str(v.price),
            "compareAtPrice": None if v.compare_at_price is None else str(v.compare_at_price),
            "availableForSale": self._inventory.status(v.product_id) in _SOLD and sellable,
            "inventoryQuantity": v.quantity,
            "sellableOnlineQuantity": v.quantity,
            "inventoryPolicy": v.policy.name,
            "updatedAt": _iso(v),
            "media": lambda info, **_: {"nodes": [_media(v, info)]},
            "inventoryItem": lambda _info: self._item(v),
            "product": lambda _info: self._product(v),
        }

    def _product(self, v: Variant) -> Node:
        ids = self._inventory.variant_ids
        return {
            "__typename": "Product",
            "featuredMedia": lambda info: _media(v, info),
            "id": to_global("Product", v.product_id),
            "handle": v.handle,
            "title": v.product_title,
            "status": self._inventory.status(v.product_id),
            "updatedAt": _iso(v),
            "totalInventory": lambda _info: sum(
                s.quantity for i in ids(v.product_id) if (s := self._inventory.find(i))
            ),
            "variants": lambda info, **arguments: _nested(ids(v.product_id), self._variant_at, info, arguments),
        }

    def _item(self, v: Variant) -> Node:
        return {
            "__typename": "InventoryItem",
            "id": to_global("InventoryItem", v.inventory_item_id),
            "tracked": v.tracked,
            "updatedAt": _iso(v),
            "inventoryLevels": lambda info, **arguments: _nested(
                list(v.levels), lambda location_id: _level(v, location_id), info, arguments
            ),
        }


def _media(v: Variant, info: GraphQLResolveInfo[Any]) -> Node:
    return {
        "__typename": "MediaImage",
        "id": to_global("MediaImage", v.variant_id),
        "preview": {"image": {"url": image_url(info.root_value["origin"], v.handle)}},
    }


def _level(v: Variant, location_id: int) -> Node:
    return {
        "__typename": "InventoryLevel",
        "id": f"{to_global('InventoryLevel', location_id)}?inventory_item_id={v.inventory_item_id}",
        "isActive": True,
        "location": {"__typename": "Location", "id": to_global("Location", location_id)},
        "updatedAt": _iso(v),
        "quantities": lambda _info, names: [
            {
                "id": f"{to_global('InventoryQuantity', location_id)}?name={name}",
                "name": name,
                "quantity": v.levels[location_id],
            }
            for name in names
            if name in {"available", "on_hand"}
        ],
    }


def _connection(
    ids: Sequence[int], node_at: Callable[[int], Node | None], info: GraphQLResolveInfo[Any], arguments: dict[str, Any]
) -> Node:
    if not isinstance(info.context, Window):
        return _nested(ids, node_at, info, arguments)
    return _page_of(ids, ids[info.context.start : info.context.start + info.context.size], node_at)


def _nested(
    ids: Sequence[int], node_at: Callable[[int], Node | None], info: GraphQLResolveInfo[Any], arguments: dict[str, Any]
) -> Node:
    in_bulk = isinstance(info.context, Window)
    after = arguments.get("after")
    chosen = page(ids, _EVERYTHING if in_bulk else arguments["first"], None if after is None else _position(after))
    return _page_of(ids, chosen, node_at)


def _page_of(ids: Sequence[int], chosen: Sequence[int], node_at: Callable[[int], Node | None]) -> Node:
    found = [(number, node) for number in chosen if (node := node_at(number))]
    return {
        "nodes": [node for _, node in found],
        "edges": [{"cursor": _cursor(number), "node": node} for number, node in found],
        "pageInfo": {
            "hasNextPage": bool(chosen) and chosen[-1] != ids[-1],
            "hasPreviousPage": bool(chosen) and chosen[0] != ids[0],
            "startCursor": _cursor(chosen[0]) if chosen else None,
            "endCursor": _cursor(chosen[-1]) if chosen else None,
        },
    }


def _cursor(number: int) -> str:
    return base64.b64encode(str(number).encode()).decode()


def _position(cursor: str) -> int:
    return int(base64.b64decode(cursor))


def _iso(v: Variant) -> str:
    return v.updated_at.strftime("%Y-%m-%dT%H:%M:%SZ")
