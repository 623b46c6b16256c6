"""Naive implementations of the jobs, for comparison: ORM objects, one query, request and command per row."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from redis.asyncio import Redis
from sqlalchemy import select

from wishcraft.domain.registries import ItemStatus, RegistryStatus
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts, registry_payload
from wishcraft.resources import Resources
from wishcraft.shopify.variants import read_variants
from wishcraft.store.schema import Registry, RegistryItem, Shop
from wishcraft.store.shops import ShopRef

SAMPLE: Final = 2_000
"""Registries per shop; the cost per registry does not depend on the number."""


async def warm(resources: Resources, redis: Redis, shop: ShopRef) -> int:
    """Load each registry as ORM objects, encode it with `json`, store it with one command."""
    async with resources.db.repeatable_read() as session:
        row = (await session.scalars(select(Shop).where(Shop.id == shop.id))).one()
        active = select(Registry).where(Registry.shop_id == shop.id, Registry.status == RegistryStatus.ACTIVE)
        registries = list(await session.scalars(active.limit(SAMPLE)))
        for registry in registries:
            shown = RegistryItem.registry_id == registry.id, RegistryItem.status != ItemStatus.HIDDEN
            items = await session.scalars(
                select(RegistryItem).where(*shown).order_by(RegistryItem.display_order, RegistryItem.id)
            )
            answer = json.dumps(_payload(row, registry, items), default=str)
            await redis.set(f"naive:{shop.id}:{registry.slug}", answer, ex=3600)
    return len(registries)


async def sync(resources: Resources, shop: ShopRef) -> int:
    """For each item: one ORM object, one Shopify request, one transaction."""
    async with resources.db.repeatable_read() as session:
        item_ids = select(RegistryItem.id).join(Registry, Registry.id == RegistryItem.registry_id)
        active = item_ids.where(RegistryItem.shop_id == shop.id, Registry.status == RegistryStatus.ACTIVE)
        ids = list(await session.scalars(active.limit(SAMPLE // 10)))
    for item_id in ids:
        async with resources.db.transaction() as session:
            item = (await session.scalars(select(RegistryItem).where(RegistryItem.id == item_id))).one()
            reading = (await read_variants(resources.shopify, shop.domain, [item.variant_id]))[item.variant_id]
            if reading:
                item.price, item.inventory_quantity = Decimal(reading.price), reading.inventory_quantity
    return len(ids)


def _payload(shop: Shop, registry: Registry, items: Iterable[RegistryItem]) -> dict[str, Any]:
    facts = RegistryFacts(
        registry.id, registry.slug, registry.version, registry.title, registry.description,
        registry.event_type, registry.event_date, registry.customer_first_name, registry.visibility,
        registry.status, registry.customer_id, shop.currency,
        [each["first_name"] for each in registry.co_registrants], shop.settings.low_stock_threshold,
        f"https://{shop.domain}/apps/registry/r/{registry.slug}",
    )  # fmt: skip
    return registry_payload(facts, [ItemFacts._make(getattr(row, name) for name in ItemFacts._fields) for row in items])
