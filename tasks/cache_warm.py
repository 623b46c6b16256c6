"""The task of the job `cache-warm`."""

from tasks.runtime.retries import for_each_shop, shop_names, task
from wishcraft.domain.work_results import WorkResult
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Checkpoint
from wishcraft.services.registries.warm import warm_shop
from wishcraft.store.shops import ShopRef


@task(shop_names("warm"))
async def warm_shops(domains: list[str], *, force: bool) -> list[WorkResult]:
    """Fill Redis with the active registries of these shops."""

    async def warm(resources: Resources, shop: ShopRef, checkpoint: Checkpoint) -> dict[str, int]:
        return await warm_shop(resources, shop, force=force, checkpoint=checkpoint)

    return await for_each_shop(domains, warm)
