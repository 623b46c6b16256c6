"""The task of the job `sync-inventory`."""

from tasks.runtime.retries import for_each_shop, shop_names, task
from wishcraft.domain.work_results import WorkResult
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Checkpoint
from wishcraft.services.inventory.sync import sync_shop
from wishcraft.store.shops import ShopRef


@task(shop_names("sync"))
async def sync_shops(domains: list[str], *, dry_run: bool) -> list[WorkResult]:
    """Bring the items of these shops in step with Shopify."""

    async def sync(resources: Resources, shop: ShopRef, checkpoint: Checkpoint) -> dict[str, int]:
        return await sync_shop(resources, shop, dry_run=dry_run, checkpoint=checkpoint)

    return await for_each_shop(domains, sync)
