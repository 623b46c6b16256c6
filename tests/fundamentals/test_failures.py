"""A tour of the product, part 3 of 3: what people see while a part of the system is broken, and afterwards.

Each test breaks something for real: it pauses Redis, closes PostgreSQL to connections, or kills a job's process with
SIGKILL. The rule in all of them: readers may wait or be refused, but they never get an old version after a new one.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal

import httpx

from deployments.sandbox.shopify.inventory import Variant
from tests.support.api import Shopper, problem
from tests.support.job_processes import command, environment
from tests.support.outages import postgresql_unavailable, recovered
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.resources import Resources
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.settings import Settings
from wishcraft.store import locks
from wishcraft.store.shops import ShopRef


async def test_without_redis_registries_are_read_and_changed_in_postgresql(
    client_on_own_valkey: httpx.AsyncClient, own_valkey: OwnValkey, signed: Callable[..., str]
) -> None:
    emma, guest = Shopper(client_on_own_valkey, signed, 7_100_000_000_001), Shopper(client_on_own_valkey, signed)
    slug = await emma.create(title="Before")
    own_valkey.pause()  # it keeps the old entry, and does not answer
    read = await guest.read(slug)
    assert (read.json()["title"], read.headers["x-cache"]) == ("Before", "bypass")
    changed = await emma.send("PATCH", f"/api/registries/{slug}", {"title": "After"}, if_match="*")
    assert changed.status_code == 200
    own_valkey.resume()
    await recovered(client_on_own_valkey)
    assert (await guest.read(slug)).json()["title"] == "After"
    assert (await guest.read(slug)).headers["x-cache"] == "hit"


async def test_without_postgresql_cached_registries_are_read_and_changes_get_503(
    emma: Shopper, guest: Shopper, slug: str, settings: Settings
) -> None:
    with postgresql_unavailable(settings):
        read = await guest.read(slug)
        refused = await emma.send("PATCH", f"/api/registries/{slug}", {"title": "After"}, if_match="*")
    assert (read.status_code, read.headers["x-cache"]) == (200, "hit")
    assert problem(refused) == (503, "unavailable")
    assert refused.headers["retry-after"] == "5"
    changed = await emma.send("PATCH", f"/api/registries/{slug}", {"title": "After"}, if_match="*")
    assert changed.status_code == 200


async def test_killed_sync_leaves_no_old_price_and_the_next_run_completes_it(
    guest: Shopper, slug: str, variant: Variant, settings: Settings, resources: Resources, shop: ShopRef
) -> None:
    assert (await guest.read(slug)).headers["x-cache"] == "hit"
    variant.price = Decimal(25)
    job = await asyncio.create_subprocess_exec(
        *command("sync_demo_shop", "die-before-commit"), env=environment(settings)
    )
    assert await job.wait() == -9
    assert await resources.cache.get(shop.id, slug) is None  # no reader can get the old price any more
    async with asyncio.timeout(PATIENCE_SECONDS), locks.acquire(resources.db, "sync", shop.id):
        pass  # PostgreSQL has released the lock of the dead process
    await sync_shop(resources, shop)
    read = await guest.read(slug)
    assert (read.json()["items"][0]["price"], read.headers["x-cache"]) == ("25.00", "hit")
