"""`python -m benchmarks.stages NAME`: run one stage for all shops in the database of the environment."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import httpx
from redis.asyncio import Redis
from sqlalchemy import update

from benchmarks import naive_jobs
from benchmarks.measurement import Measurement, as_json, measure
from wishcraft.domain.batches import batches
from wishcraft.resources import Resources, open_resources
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.services.registries.warm import warm_shop
from wishcraft.services.webhooks.consume import Consumer
from wishcraft.services.webhooks.handlers import HANDLERS
from wishcraft.services.webhooks.process import process
from wishcraft.settings import Settings, settings
from wishcraft.shopify.graphql_queries import READ_VARIANTS
from wishcraft.shopify.ids import to_global
from wishcraft.shopify.nodes import MAX_IDS
from wishcraft.store import registry_items, shops, webhook_inbox
from wishcraft.store.schema import RegistryItem
from wishcraft.store.shops import ShopRef
from wishcraft.store.tokens import TokenVault

Stage = Callable[[Resources, ShopRef], Awaitable[int]]


async def warm(resources: Resources, shop: ShopRef) -> int:
    """Warm the cache; returns registries, including current ones."""
    return (await warm_shop(resources, shop))["registries"]


async def warm_naively(resources: Resources, shop: ShopRef) -> int:
    """Warm the cache naively; returns registries."""
    async with Redis.from_url(settings().redis_url) as redis:
        return await naive_jobs.warm(resources, redis, shop)


async def sync(resources: Resources, shop: ShopRef) -> int:
    """Sync the inventory; returns variants read."""
    return (await sync_shop(resources, shop))["variants"]


async def write(resources: Resources, shop: ShopRef) -> int:
    """Sync the inventory; returns items written."""
    return (await sync_shop(resources, shop))["items_changed"]


async def read_by_id(resources: Resources, shop: ShopRef) -> int:
    """Lower bound of a sync: read all variants by id and discard them; returns variants."""
    config = settings()
    async with resources.db.repeatable_read() as session:
        variant_ids = await registry_items.find_variants(session, shop.id)
    token = await TokenVault(resources.db, config.encryption_keys).load(shop.domain)
    url = f"{config.shopify_origin.format(shop=shop.domain)}/admin/api/{config.shopify_api_version}/graphql.json"
    async with httpx.AsyncClient(headers={"X-Shopify-Access-Token": token.access}, timeout=60) as http:
        for batch in batches(variant_ids, MAX_IDS):
            ids = [to_global("ProductVariant", number) for number in batch]
            (await http.post(url, json={"query": READ_VARIANTS, "variables": {"ids": ids}})).raise_for_status()
    return len(variant_ids)


async def consume(resources: Resources, _shop: ShopRef) -> int:
    """Handle what waits in the queue of webhooks, of all shops; returns webhooks."""
    consumer, handled = Consumer(resources, HANDLERS, "benchmark"), 0
    while taken := await consumer.take(timedelta(0)):
        handled += taken
        await consumer.finish()
    return handled


async def consume_naively(resources: Resources, shop: ShopRef) -> int:
    """Handle each of the shop's webhooks in a transaction of its own; returns webhooks."""
    async with resources.db.autocommit() as session:
        due = await webhook_inbox.find_due(session, sys.maxsize)
    own = [each.id for each in due if each.shop_domain == shop.domain]
    for webhook_id in own:
        await process(resources, HANDLERS, shop.domain, [webhook_id])
    return len(own)


STAGES: Final[dict[str, Stage]] = {
    "warm-naive": warm_naively,
    "warm": warm,
    "sync-naive": naive_jobs.sync,
    "sync-floor": read_by_id,
    "sync": sync,
    "write": write,
    "webhooks": consume,
    "webhooks-naive": consume_naively,
}


async def make_items_outdated(config: Settings) -> None:
    """Change the price of every tenth item, so that it differs from Shopify."""
    async with open_resources(config) as resources, resources.db.transaction() as session:
        await session.execute(update(RegistryItem).where(RegistryItem.id % 10 == 0).values(price=1))


async def main(name: str) -> Measurement:
    """Measure the stage over all shops."""
    async with open_resources(redis_timeout=60) as resources:
        await resources.cache.ready_to_fill()
        async with resources.db.repeatable_read() as session:
            active_shops = await shops.find_active(session)

        async def work() -> int:
            return sum([await STAGES[name](resources, shop) for shop in active_shops])

        return await measure(work)


if __name__ == "__main__":
    print(as_json(asyncio.run(main(sys.argv[1]))))
