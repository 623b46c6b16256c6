"""Jobs in separate processes, killed with SIGKILL just before or after a call to a store."""

import asyncio
import random
from datetime import date
from typing import Any, NamedTuple

import pytest
from redis.asyncio import Redis

from deployments.sandbox.demo import seed
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.job_processes import command, environment
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.cache import keys
from wishcraft.resources import Resources
from wishcraft.services.registries.reader import load_registries
from wishcraft.services.registries.warm import warm_shop
from wishcraft.settings import Settings
from wishcraft.store import locks
from wishcraft.store.shops import ShopRef

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(1200)]  # minutes on a machine that is busy
SHOP = "maple-and-pine.myshopify.com"
KILLS = 3


class Data(NamedTuple):
    """Items and versions in PostgreSQL, and versions and bodies of the cache entries."""

    items: list[tuple[Any, ...]]
    versions: list[tuple[Any, ...]]
    entries: dict[str, tuple[int, bytes]]


class Job:
    """A job process on demo data with deterministic defects."""

    def __init__(
        self, name: str, resources: Resources, settings: Settings, demo: Demo, redis: Redis, shop: ShopRef
    ) -> None:
        self.name, self.resources, self.settings, self.demo, self.redis, self.shop = (
            name, resources, settings, demo, redis, shop,
        )  # fmt: skip

    async def reset(self) -> None:
        self.demo.execute("TRUNCATE shops, audit_logs, pending_invalidations, webhook_events CASCADE")
        seed(self.settings, 12, 7, date(2026, 3, 14))
        await self.drop("wishcraft:{*}*")
        if self.name == "sync":
            self.demo.execute("UPDATE registry_items SET price = 1 WHERE variant_id % 3 = 0")
            self.demo.execute("UPDATE registry_items SET inventory_quantity = 77 WHERE variant_id % 5 = 0")
            await warm_shop(self.resources, self.shop)

    async def start(self, last: int = 0) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command("killable_job", self.name, str(last)),
            env=environment(self.settings),
            stdout=asyncio.subprocess.PIPE,
        )

    async def run(self, last: int = 0) -> int:
        """The number of moments of a complete run; 0 if it was killed."""
        printed, _ = await (await self.start(last)).communicate()
        return int(printed or 0)

    async def expire_leases(self) -> None:
        """Expire the leases and floors of a dead process, and wait for its lock."""
        await self.drop("wishcraft:{*}:lease:*")
        await self.drop("wishcraft:{*}:marks")
        async with asyncio.timeout(PATIENCE_SECONDS), locks.acquire(self.resources.db, "sync", self.shop.id):
            pass

    async def read(self) -> Data:
        items = self.demo.execute(
            "SELECT id, price, inventory_quantity, available, status FROM registry_items ORDER BY id"
        )
        versions = self.demo.execute("SELECT slug, version FROM registries ORDER BY id").fetchall()
        cached = {slug: await self.resources.cache.get(self.shop.id, slug) for slug, _ in versions}
        entries = {slug: (entry.header.version, entry.body) for slug, entry in cached.items() if entry}
        return Data(items.fetchall(), versions, entries)

    async def no_entry_is_stale(self) -> bool:
        slugs = [slug for slug, _ in self.demo.execute("SELECT slug, version FROM registries")]
        truth = await load_registries(self.resources, self.shop.id, slugs)
        return all(body == truth[slug].body for slug, (_, body) in (await self.read()).entries.items())

    async def drop(self, pattern: str) -> None:
        async for key in self.redis.scan_iter(pattern):
            if key.decode() != keys.ERA:
                await self.redis.delete(key)


@pytest.fixture
def job(
    request: pytest.FixtureRequest,
    resources: Resources,
    settings: Settings,
    demo: Demo,
    redis: Redis,
    simulator: Simulator,
) -> Job:
    found = demo.execute("SELECT id FROM shops WHERE domain = %s", [SHOP]).fetchone()
    assert found
    assert simulator.shops[SHOP]
    return Job(request.param, resources, settings, demo, redis, request.getfixturevalue("shop"))


@pytest.mark.parametrize("job", ["warm", "sync"], indirect=True)
@pytest.mark.parametrize("chance", range(2))
async def test_job_killed_at_any_moment_and_rerun_has_the_result_of_one_run(job: Job, chance: int) -> None:
    await job.reset()
    moments = await job.run()
    clean = await job.read()
    assert clean.entries
    for last in random.Random(f"{job.name}{chance}").sample(range(1, moments + 1), KILLS):  # noqa: S311  test data
        await job.reset()
        assert await job.run(last) == 0
        assert await job.no_entry_is_stale()
        await job.expire_leases()
        assert await job.run() > 0
        assert await job.read() == clean, f"killed at moment {last} of {moments}"


@pytest.mark.parametrize("job", ["warm", "sync"], indirect=True)
async def test_two_concurrent_runs_have_the_result_of_one_run(job: Job) -> None:
    await job.reset()
    await job.run()
    clean = await job.read()
    await job.reset()
    both = await asyncio.gather(job.start(), job.start())
    assert [await process.wait() for process in both] == [0, 0]
    assert await job.read() == clean
