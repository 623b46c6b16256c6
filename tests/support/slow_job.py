"""A job whose number and duration of batches are parameters."""

import asyncio

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from tasks.runtime.retries import task
from tasks.runtime.shop_batches import find_shop_batches, for_each_shop
from wishcraft.domain.work_results import WorkResult
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Checkpoint
from wishcraft.store.shops import ShopRef


@task("rest")
async def rest_shops(domains: list[str], *, batches: int, seconds: float) -> list[WorkResult]:
    """Rest."""

    async def rest(_resources: Resources, _shop: ShopRef, checkpoint: Checkpoint) -> dict[str, int]:
        for done in range(batches):
            await checkpoint(done, batches)
            await asyncio.sleep(seconds)
        return {"batches": batches}

    return await for_each_shop(domains, rest)


@job("slow-job")
async def slow_job(batches: int, seconds: float) -> State[dict[str, int]]:
    """Rest in many batches.

    Args:
        batches: For each shop.
        seconds: For each batch.
    """
    found = await find_shop_batches([])
    return await summarise("slow-job", await run_batches(rest_shops, found, batches=batches, seconds=seconds))
