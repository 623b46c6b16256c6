"""The task of the job `reconcile-orders`."""

from functools import partial

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import for_each_shop, name_by_shops
from tasks.runtime.work_items import WorkState
from wishcraft.domain.periods import Days
from wishcraft.services.purchases.reconcile import reconcile_shop
from wishcraft.settings import time_zone


@task(name_by_shops("reconcile"))
async def reconcile_shops(domains: list[str], *, days: Days, dry_run: bool) -> WorkState:
    """Apply what no webhook has brought of the orders of these shops that changed on these days of TZ, or lately."""
    since, until = days.moments(time_zone().key)
    return await for_each_shop(domains, partial(reconcile_shop, since=since, until=until, dry_run=dry_run))
