"""The task of the job `sync-inventory`."""

from tasks.attempts import for_each_shop, shop_names, task
from wishcraft.domain.outcomes import ShopOutcome
from wishcraft.resources import Resources
from wishcraft.services.progress import Checkpoint
from wishcraft.services.syncing import sync_shop
from wishcraft.store.shops import ShopRef


@task(shop_names("sync"))
async def sync_shops(domains: list[str], *, dry_run: bool) -> list[ShopOutcome]:
    """Bring the items of these shops in step with Shopify."""

    async def sync(resources: Resources, shop: ShopRef, checkpoint: Checkpoint) -> dict[str, int]:
        return await sync_shop(resources, shop, dry_run=dry_run, checkpoint=checkpoint)

    return await for_each_shop(domains, sync)
