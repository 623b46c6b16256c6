"""How fast the jobs are, and how fast the obvious way would be: the ORM row by row, and one command each."""

import json
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from redis.asyncio import Redis
from sqlalchemy import select, update

from wishcraft.domain.answers import ItemFacts, RegistryFacts, registry_answer
from wishcraft.domain.registries import RegistryStatus
from wishcraft.resources import Resources, open_resources
from wishcraft.services.syncing import sync_shop
from wishcraft.services.warming import warm_shop
from wishcraft.settings import Settings
from wishcraft.store import shops
from wishcraft.store.schema import Registry, RegistryItem, Shop
from wishcraft.store.shops import ShopRef

Work = Callable[[ShopRef], Awaitable[int]]


@dataclass(frozen=True)
class Row:
    """One measurement: what, how many of it, in how many seconds of which how many on this process's CPU."""

    what: str
    count: int
    seconds: float
    cpu: float
    naive: "Row | None" = None

    def formatted(self, registries: int) -> str:
        """A line of the table; `naive` is how many times faster this is than the naive way."""
        rate = self.count / self.seconds
        ratio = f"{rate / (self.naive.count / self.naive.seconds):.1f}x" if self.naive else ""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        each = 1000 * self.cpu / max(1, self.count)
        return f"{registries:>10,}  {self.what:<44} {rate:>12,.0f} {each:>12.3f} {ratio:>7}  {peak:>8,.0f}"


async def measure(settings: Settings) -> list[Row]:
    """Every row for the shops at these settings, which are left warm."""
    async with open_resources(settings, redis_timeout=30) as resources:
        await resources.cache.ready_to_fill()
        return [row async for row in _rows(resources, settings)]


async def _rows(resources: Resources, settings: Settings) -> AsyncIterator[Row]:
    async with Redis.from_url(settings.redis_url) as redis:
        await redis.config_set("maxmemory", 0)

        async def naive_warm(shop: ShopRef) -> int:
            return await _naive_warm(resources, redis, shop)

        naive = await _timed("warm, naive: ORM and SET, one by one", resources, naive_warm)
    yield naive

    async def warm(shop: ShopRef) -> int:
        return (await warm_shop(resources, shop))["registries"]

    async def sync(shop: ShopRef) -> int:
        return (await sync_shop(resources, shop))["variants"]

    async def apply(shop: ShopRef) -> int:
        return (await sync_shop(resources, shop))["items_changed"]

    yield replace(await _timed("warm, cold", resources, warm), naive=naive)
    yield replace(await _timed("warm, nothing changed", resources, warm), naive=naive)
    yield await _timed("sync, nothing changed: variants", resources, sync)
    async with resources.db.begin() as session:
        await session.execute(update(RegistryItem).where(RegistryItem.id % 10 == 0).values(price=1))
    yield await _timed("sync, a tenth of the items changed: items", resources, apply)


async def _naive_warm(resources: Resources, redis: Redis, shop: ShopRef) -> int:
    """What one writes first: each registry's rows as objects, its answer with `json`, one command to store it."""
    async with resources.db.snapshot() as session:
        currency, threshold = (
            await session.execute(select(Shop.currency, Shop.settings).where(Shop.id == shop.id))
        ).one()
        active = select(Registry).where(Registry.shop_id == shop.id, Registry.status == RegistryStatus.ACTIVE)
        registries = list(await session.scalars(active))
        for registry in registries:
            facts = RegistryFacts(
                registry.id, registry.slug, registry.version, registry.title, registry.description,
                registry.event_type, registry.event_date, registry.customer_first_name, registry.visibility,
                registry.status, registry.customer_id, currency,
                [each["first_name"] for each in registry.co_registrants], threshold.low_stock_threshold,
            )  # fmt: skip
            rows = await session.scalars(select(RegistryItem).where(RegistryItem.registry_id == registry.id))
            items = [ItemFacts._make(getattr(row, name) for name in ItemFacts._fields) for row in rows]
            answer = json.dumps(registry_answer(facts, items))
            await redis.set(f"naive:{shop.id}:{registry.slug}", answer, ex=3600)
        return len(registries)


async def _timed(what: str, resources: Resources, work: Work) -> Row:
    async with resources.db.snapshot() as session:
        found = await shops.find_active(session)
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum([await work(shop) for shop in found])
    return Row(what, count, time.perf_counter() - wall, time.process_time() - cpu)
