"""The tasks of the job `check-invariants`."""

from collections.abc import Mapping

from prefect import task

from tasks.attempts import RETRIES, for_each_shop, shop_names
from wishcraft.domain.invariants import Invariant
from wishcraft.domain.outcomes import ShopOutcome
from wishcraft.resources import Resources, open_resources
from wishcraft.services.invariants import check_shop
from wishcraft.services.progress import Checkpoint
from wishcraft.store.shops import ShopRef


@task(task_run_name=shop_names("check"), **RETRIES)
async def check_shops(domains: list[str], *, repair: bool, sample: int) -> list[ShopOutcome]:
    """Check the invariants of these shops."""

    async def check(resources: Resources, shop: ShopRef, checkpoint: Checkpoint) -> dict[str, int]:
        return await check_shop(resources, shop, repair=repair, sample=sample, checkpoint=checkpoint)

    return await for_each_shop(domains, check)


@task(task_run_name="tell the metrics", **RETRIES)
async def tell_violations(unrepaired: Mapping[Invariant, int]) -> None:
    """Set the metric that alerts go by."""
    async with open_resources() as resources:
        for invariant, count in unrepaired.items():
            resources.counters.set("invariant_violations", count, invariant=invariant.value)
