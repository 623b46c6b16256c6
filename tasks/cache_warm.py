"""The task of the job `cache-warm`."""

from functools import partial

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import for_each_shop, name_by_shops
from tasks.runtime.work_items import WorkState
from wishcraft.services.registries.warm import warm_shop


@task(name_by_shops("warm"))
async def warm_shops(domains: list[str], *, force: bool) -> WorkState:
    """Fill the cache with the active registries of these shops."""
    return await for_each_shop(domains, partial(warm_shop, force=force))
