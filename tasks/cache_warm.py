"""The task of the job `cache-warm`."""

from prefect import task

from tasks.attempts import RETRIES, for_each_shop, shop_names
from wishcraft.domain.outcomes import ShopOutcome
from wishcraft.resources import Resources
from wishcraft.services.progress import Checkpoint
from wishcraft.services.warming import warm_shop
from wishcraft.store.shops import ShopRef


@task(task_run_name=shop_names("warm"), **RETRIES)
async def warm_shops(domains: list[str], *, force: bool) -> list[ShopOutcome]:
    """Fill Redis with the active registries of these shops."""

    async def warm(resources: Resources, shop: ShopRef, checkpoint: Checkpoint) -> dict[str, int]:
        return await warm_shop(resources, shop, force=force, checkpoint=checkpoint)

    return await for_each_shop(domains, warm)
