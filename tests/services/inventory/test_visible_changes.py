"""A registry gets a new version if it shows a change of its items' variants, and else keeps it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from deployments.sandbox.shopify.inventory import LOCATION
from tests.services.inventory.test_stock_webhooks import at_level, know_levels
from tests.support.aliases import Demo
from tests.support.waiting import WAITING, wait_until
from tests.support.webhooks import apply
from tests.support.wished_variants import Wished, versions
from wishcraft.domain.inventory import InventoryPolicy
from wishcraft.resources import Resources
from wishcraft.services.inventory.stock_webhooks import handle_stock
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.registries.reader import RegistryReader
from wishcraft.services.registries.write import registry_write
from wishcraft.services.shops.settings import change_settings, replace_outdated_entries
from wishcraft.store import registry_payloads
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

OPERATOR = Actor(1, "test")


async def payloads(resources: Resources, slugs: set[str]) -> dict[str, bytes]:
    rows = await resources.db.fetch(registry_payloads.find(1, sorted(slugs)))
    return {slug: each.body for slug, each in registry_payloads.read(rows, resources.shopify_origin).items()}


async def shown_stock(resources: Resources, wished: Wished) -> Any:
    answer = await RegistryReader(resources).read(1, wished.slug)
    return {each["id"]: each["stock"] for each in orjson.loads(answer.entry.body)["items"]}[wished.item_id]


@pytest.mark.parametrize("by_sync", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "is_shown"),
    [(500, 499, False), (6, 5, True), (5, 4, False), (1, 0, True), (0, -1, False), (-1, 9, True)],
)
async def test_quantity_raises_versions_only_if_the_stock_level_changes(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished, before: int, after: int, *, is_shown: bool,
    by_sync: bool,
) -> None:  # fmt: skip
    know_levels(wished, {LOCATION: 0})
    wished.variant.quantity = before
    await sync_shop(resources, shop)
    holders = wished.holders()
    old, shown = versions(demo), await payloads(resources, holders)
    wished.variant.quantity = after
    if by_sync:
        await sync_shop(resources, shop)
    else:
        second = (datetime.now(UTC) - datetime(2026, 3, 14, 12, tzinfo=UTC)).total_seconds() + 5
        await apply(
            resources, shop, handle_stock, [at_level(wished, after, second)._replace(received_at=datetime.now(UTC))]
        )
    assert wished.row("inventory_quantity") == (after,)
    new = versions(demo)
    assert {slug for slug in holders if new[slug] != old[slug]} == (holders if is_shown else set())
    changed = await payloads(resources, holders)
    assert {slug for slug in holders if changed[slug] != shown[slug]} == (holders if is_shown else set())


@pytest.mark.parametrize(
    ("name", "value", "is_shown"),
    [("price", 77, True), ("variant_title", "Another", True), ("policy", InventoryPolicy.CONTINUE, False)],
)
async def test_sync_raises_versions_only_for_values_that_are_shown(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished, name: str, value: object, *, is_shown: bool
) -> None:
    setattr(wished.variant, name, value)
    old = versions(demo)
    counts = await sync_shop(resources, shop)
    assert counts["items_changed"] >= 1
    new = versions(demo)
    assert {slug for slug in wished.holders() if new[slug] != old[slug]} == (wished.holders() if is_shown else set())


async def test_new_threshold_waits_for_a_stock_that_is_being_written(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    """With the old threshold the change is not visible, so that its writer drops no cache entry."""
    demo.execute("UPDATE registry_items SET inventory_quantity = 900")
    know_levels(wished, {LOCATION: 500})
    assert await shown_stock(resources, wished) == "in_stock"
    effect = await handle_stock(resources, shop, [at_level(wished, 499)])
    async with registry_write(resources, OPERATOR, sorted(effect.registry_ids), on_cache_down="refuse") as write:
        await effect.apply(write)
        await change_settings(resources, OPERATOR, {"low_stock_threshold": 499})
        replacing = asyncio.create_task(replace_outdated_entries(resources, shop.id))
        await wait_until(lambda: demo.execute(WAITING).fetchone() == (1,))
    assert await replacing
    assert await shown_stock(resources, wished) == "low"


async def test_stock_that_leaves_the_outdated_quantities_is_shown_with_the_new_threshold(
    resources: Resources, demo: Demo, shop: ShopRef, wished: Wished
) -> None:
    """Both quantities are low now; the cache entry is of the time when the first one was not."""
    demo.execute("UPDATE registry_items SET inventory_quantity = 900")
    know_levels(wished, {LOCATION: 490})
    assert await shown_stock(resources, wished) == "in_stock"
    await change_settings(resources, OPERATOR, {"low_stock_threshold": 499})
    await apply(resources, shop, handle_stock, [at_level(wished, 3)])
    await replace_outdated_entries(resources, shop.id)
    assert await shown_stock(resources, wished) == "low"
