"""The levels of inventory items are read with one query for many of them."""

from typing import Any
from unittest.mock import AsyncMock

import pytest

from deployments.sandbox.shopify.inventory import LOCATION, Variant, VariantChange
from tests.support.shopify_world import SHOP, World
from wishcraft.errors import ShopifyUnavailable
from wishcraft.shopify.inventory_levels import ITEMS, LOCATIONS, read_levels


def variants(world: World, count: int) -> list[Variant]:
    found = [world.shop.inventory.find_or_deleted(number) for number in world.ids(count)]
    return [variant for variant in found if variant]


async def read(world: World, *chosen: Variant) -> list[dict[int, int]]:
    """The pieces by location of these variants."""
    levels = await read_levels(world.client, SHOP, [each.inventory_item_id for each in chosen])
    return [{each.location_id: each.available for each in levels[variant.inventory_item_id]} for variant in chosen]


async def test_levels_of_all_locations_are_read_in_one_query(world: World) -> None:
    first, *others = variants(world, ITEMS)
    first.quantity, first.elsewhere = 5, {71: 9, 72: -1}
    assert await read(world, first, *others) == [{LOCATION: -3, 71: 9, 72: -1}, *(each.levels for each in others)]
    assert world.shop.counters.requests == 1


async def test_one_more_item_needs_a_second_query(world: World) -> None:
    assert len(await read(world, *variants(world, ITEMS + 1))) == ITEMS + 1
    assert world.shop.counters.requests == 2


async def test_item_with_more_locations_than_a_query_has_is_read_to_the_end(world: World) -> None:
    first, second = variants(world, 2)
    first.elsewhere = {100 + number: number for number in range(LOCATIONS + 250)}
    assert await read(world, first, second) == [first.levels, second.levels]
    assert world.shop.counters.requests == 4


async def test_deleted_item_has_no_levels(world: World) -> None:
    first, second = variants(world, 2)
    world.shop.inventory.change(first, VariantChange({"deleted": True}))
    assert await read(world, first, second) == [{}, second.levels]


@pytest.mark.parametrize(
    "level",
    [
        {},
        {
            "location": {"id": "gid://shopify/Location/1"},
            "quantities": [{"name": "available", "quantity": 1}],
            "updatedAt": "0001-01-01T00:00:00+14:00",
        },
    ],
)
async def test_item_whose_levels_cannot_be_read_is_left_out(level: dict[str, Any]) -> None:
    client = AsyncMock()
    nodes = [
        {"id": f"gid://shopify/InventoryItem/{number}", "inventoryLevels": {"nodes": [level]}} for number in (1, 2)
    ]
    nodes[1]["inventoryLevels"] = {"nodes": [], "pageInfo": {"hasNextPage": False}}
    client.query.return_value = {"nodes": nodes}
    assert await read_levels(client, SHOP, [1, 2]) == {2: []}


async def test_answer_about_another_item_is_no_answer() -> None:
    client = AsyncMock()
    client.query.return_value = {"nodes": [{"id": "gid://shopify/InventoryItem/1", "inventoryLevels": {}}]}
    with pytest.raises(ShopifyUnavailable):
        await read_levels(client, SHOP, [2])
