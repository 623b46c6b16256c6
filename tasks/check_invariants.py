"""The tasks of the job `check-invariants`."""

from collections.abc import Mapping

from tasks.runtime.retries import for_each_shop, shop_names, task
from wishcraft.domain.invariants import Invariant
from wishcraft.domain.work_results import WorkResult
from wishcraft.resources import Resources, open_resources
from wishcraft.services.checkpoint import Checkpoint
from wishcraft.services.operations.invariants import check_shop
from wishcraft.store.shops import ShopRef


@task(shop_names("check"))
async def check_shops(domains: list[str], *, repair: bool, sample: int) -> list[WorkResult]:
    """Check the invariants of these shops."""

    async def check(resources: Resources, shop: ShopRef, checkpoint: Checkpoint) -> dict[str, int]:
        return await check_shop(resources, shop, repair=repair, sample=sample, checkpoint=checkpoint)

    return await for_each_shop(domains, check)


@task("tell the metrics")
async def tell_violations(unrepaired: Mapping[Invariant, int]) -> None:
    """Set the metric that alerts go by."""
    async with open_resources() as resources:
        for invariant, count in unrepaired.items():
            resources.counters.set("invariant_violations", count, invariant=invariant.value)
