"""Jobs in processes of their own that die by `kill -9` just before or after one of their calls to a store."""

import asyncio
import os
import random
import sys
from datetime import date
from typing import Any, NamedTuple

import pytest
from psycopg import Connection
from pydantic import SecretStr
from redis.asyncio import Redis

from deployments.sandbox.demo import seed
from deployments.sandbox.shopify.simulator import Simulator
from wishcraft.cache import keys
from wishcraft.resources import Resources
from wishcraft.services.registries.reader import load_documents
from wishcraft.services.registries.warm import warm_shop
from wishcraft.settings import Settings
from wishcraft.store import locks
from wishcraft.store.shops import ShopRef

pytestmark = pytest.mark.chaos
Demo = Connection[tuple[Any, ...]]
SHOP = "maple-and-pine.myshopify.com"
KILLS = 3

# Every statement, commit and Redis call is two moments, before and after. The process kills itself at the one that
# its second argument names, or says how many there were.
JOB = """
import asyncio, os, signal, sys
from sqlalchemy import event
from wishcraft.cache.coherence import CoherenceCommands
from wishcraft.resources import open_resources
from wishcraft.services.inventory import sync
from wishcraft.services.registries import warm
from wishcraft.store import shops

job, last = sys.argv[1], int(sys.argv[2])
warm.BATCH = sync.REGISTRIES_PER_WRITE = 1
moments = 0

def moment(*_arguments):
    global moments
    moments += 1
    if moments == last:
        os.kill(os.getpid(), signal.SIGKILL)

calls = CoherenceCommands._run
async def run(*arguments):
    moment()
    replies = await calls(*arguments)
    moment()
    return replies
CoherenceCommands._run = run

async def main():
    async with open_resources(redis_timeout=5) as resources:
        engine = resources.db.engine.sync_engine
        for name in ("before_cursor_execute", "after_cursor_execute", "commit", "checkin"):
            event.listen(engine, name, moment)
        async with resources.db.repeatable_read() as session:
            [shop] = await shops.find_active(session, ["maple-and-pine.myshopify.com"])
        await (warm.warm_shop if job == "warm" else sync.sync_shop)(resources, shop)

asyncio.run(main())
print(moments)
"""


class Left(NamedTuple):
    """What a job left: items, versions, and the entries' versions and bodies."""

    items: list[tuple[Any, ...]]
    versions: list[tuple[Any, ...]]
    entries: dict[str, tuple[int, bytes]]


class Place:
    """The demo data, spoilt in the same way every time, and the job as a process."""

    def __init__(
        self, job: str, resources: Resources, settings: Settings, demo: Demo, redis: Redis, shop: ShopRef
    ) -> None:
        self.job, self.resources, self.settings, self.demo, self.redis, self.shop = (
            job, resources, settings, demo, redis, shop,
        )  # fmt: skip

    async def begin_anew(self) -> None:
        self.demo.execute("TRUNCATE shops, audit_logs CASCADE")
        seed(self.settings, 12, 7, date(2026, 3, 14))
        await self.drop("wishcraft:{*}*")
        if self.job == "sync":
            self.demo.execute("UPDATE registry_items SET price = 1 WHERE variant_id % 3 = 0")
            self.demo.execute("UPDATE registry_items SET inventory_quantity = 77 WHERE variant_id % 5 = 0")
            await warm_shop(self.resources, self.shop)

    async def start(self, last: int = 0) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            JOB,
            self.job,
            str(last),
            env=environment(self.settings),
            stdout=asyncio.subprocess.PIPE,
        )

    async def run(self, last: int = 0) -> int:
        """The moments of a whole run; 0 if it was killed."""
        printed, _ = await (await self.start(last)).communicate()
        return int(printed or 0)

    async def let_a_minute_pass(self) -> None:
        """As far as a dead process's leases, floors and lock are concerned."""
        await self.drop("wishcraft:{*}:lease:*")
        await self.drop("wishcraft:{*}:marks")
        async with asyncio.timeout(10), locks.hold(self.resources.db, "sync", self.shop.id):
            pass

    async def left(self) -> Left:
        items = self.demo.execute(
            "SELECT id, price, inventory_quantity, available, status FROM registry_items ORDER BY id"
        )
        versions = self.demo.execute("SELECT slug, version FROM registries ORDER BY id").fetchall()
        cached = {slug: await self.resources.cache.get(self.shop.id, slug) for slug, _ in versions}
        entries = {slug: (entry.header.version, entry.body) for slug, entry in cached.items() if entry}
        return Left(items.fetchall(), versions, entries)

    async def nothing_stale_is_read(self) -> bool:
        slugs = [slug for slug, _ in self.demo.execute("SELECT slug, version FROM registries")]
        truth = await load_documents(self.resources.db, self.shop.id, slugs)
        return all(body == truth[slug].body for slug, (_, body) in (await self.left()).entries.items())

    async def drop(self, pattern: str) -> None:
        async for key in self.redis.scan_iter(pattern):
            if key.decode() != keys.ERA:
                await self.redis.delete(key)


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    resources: Resources,
    settings: Settings,
    demo: Demo,
    redis: Redis,
    simulator: Simulator,
) -> Place:
    found = demo.execute("SELECT id FROM shops WHERE domain = %s", [SHOP]).fetchone()
    assert found
    assert simulator.shops[SHOP]
    return Place(request.param, resources, settings, demo, redis, request.getfixturevalue("shop"))


@pytest.mark.parametrize("place", ["warm", "sync"], indirect=True)
@pytest.mark.parametrize("chance", range(2))
async def test_a_job_killed_at_any_moment_and_run_again_leaves_what_one_run_leaves(place: Place, chance: int) -> None:
    await place.begin_anew()
    moments = await place.run()
    clean = await place.left()
    assert clean.entries
    for last in random.Random(f"{place.job}{chance}").sample(range(1, moments + 1), KILLS):  # noqa: S311  test data
        await place.begin_anew()
        assert await place.run(last) == 0
        assert await place.nothing_stale_is_read()
        await place.let_a_minute_pass()
        assert await place.run() > 0
        assert await place.left() == clean, f"killed at moment {last} of {moments}"


@pytest.mark.parametrize("place", ["warm", "sync"], indirect=True)
async def test_a_job_run_twice_at_once_leaves_what_one_run_leaves(place: Place) -> None:
    await place.begin_anew()
    await place.run()
    clean = await place.left()
    await place.begin_anew()
    both = await asyncio.gather(place.start(), place.start())
    assert [await process.wait() for process in both] == [0, 0]
    assert await place.left() == clean


def environment(settings: Settings) -> dict[str, str]:
    plain = {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }
    return {**os.environ, **plain}
