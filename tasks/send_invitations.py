"""The tasks of the job `send-invitations`."""

from datetime import UTC, datetime

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import for_each_shop, name_by_shops
from tasks.runtime.work_items import WorkState
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.services.invitations.send import count_waiting, invite_shop
from wishcraft.settings import settings
from wishcraft.store.shops import ShopRef


@task(name_by_shops("invite"))
async def invite_shops(domains: list[str], *, dry_run: bool) -> WorkState:
    """Send the invitations that wait in these shops, within the limits."""

    async def invite(
        resources: Resources, shop: ShopRef, *, checkpoint: Checkpoint, changes: Changes
    ) -> dict[str, int]:
        now = datetime.now(UTC)
        if dry_run:
            return await count_waiting(resources, settings(), shop, now=now)
        return await invite_shop(resources, settings(), shop, now=now, checkpoint=checkpoint, changes=changes)

    return await for_each_shop(domains, invite)
