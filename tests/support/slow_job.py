"""A job with configurable number and duration of batches."""

import asyncio
import threading
from typing import Final

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from tasks.runtime.retries import task
from tasks.runtime.shop_batches import find_shop_batches, for_each_shop
from tasks.runtime.work_items import WorkState
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.store.shops import ShopRef

has_begun: Final = threading.Event()
"""Whether a batch has begun, in this process."""


@task("sleep")
async def sleep_shops(domains: list[str], *, batches: int, seconds: float) -> WorkState:
    """Sleep in batches."""

    async def sleep(
        _resources: Resources, _shop: ShopRef, *, checkpoint: Checkpoint, changes: Changes
    ) -> dict[str, int]:
        has_begun.set()
        for done in range(batches):
            await checkpoint(done, batches)
            await asyncio.sleep(seconds)
            changes.update(batches=1)
        return changes

    return await for_each_shop(domains, sleep)


@job("slow-job")
async def slow_job(batches: int, seconds: float) -> State[dict[str, int]]:
    """Sleep in many batches.

    Args:
        batches: Batches per shop.
        seconds: Seconds per batch.
    """
    found = await find_shop_batches([])
    return await summarise("slow-job", await run_batches(sleep_shops, found, batches=batches, seconds=seconds))
