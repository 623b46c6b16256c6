"""The tasks of the job `check-invariants`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from tasks.runtime.failure_summary import summarise_lost_runs
from tasks.runtime.retries import task
from tasks.runtime.shop_batches import for_each_shop, name_by_shops
from tasks.runtime.work_items import WorkState
from wishcraft.domain.invariants import Invariant
from wishcraft.resources import open_resources
from wishcraft.services.operations.invariants import check_shop


@task(name_by_shops("check"))
async def check_shops(domains: list[str], *, repair: bool, sample: int) -> WorkState:
    """Check the invariants of these shops."""
    return await for_each_shop(domains, partial(check_shop, repair=repair, sample=sample))


@task("summarise lost runs")
async def summarise_lost() -> None:
    """Write the summaries of runs whose machine died."""
    await summarise_lost_runs(datetime.now(UTC))


@task("publish violations")
async def publish_violations(unrepaired: Mapping[Invariant, int]) -> None:
    """Set the metric `invariant_violations`, which the alert uses."""
    async with open_resources() as resources:
        for invariant, count in unrepaired.items():
            resources.counters.set("invariant_violations", count, invariant=invariant.value)
