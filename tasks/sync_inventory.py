"""The task of the job `sync-inventory`."""

from functools import partial

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import for_each_shop, name_by_shops
from tasks.runtime.work_items import WorkState
from wishcraft.services.inventory.sync import sync_shop


@task(name_by_shops("sync"))
async def sync_shops(domains: list[str], *, dry_run: bool) -> WorkState:
    """Update price and stock of the items of these shops from Shopify."""
    return await for_each_shop(domains, partial(sync_shop, dry_run=dry_run))
