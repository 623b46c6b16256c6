"""The tasks of the job `send-reminders`."""

from datetime import UTC, date, datetime

from prefect.logging import get_run_logger

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import for_each_shop, name_by_shops
from tasks.runtime.work_items import WorkState
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.services.reminders.send import find_due_reminders, remind_shop
from wishcraft.settings import settings
from wishcraft.store.shops import ShopRef


@task(name_by_shops("remind"))
async def remind_shops(domains: list[str], *, dry_run: bool, today: date | None) -> WorkState:
    """Send the reminders that are due in these shops."""

    async def remind(
        resources: Resources, shop: ShopRef, *, checkpoint: Checkpoint, changes: Changes
    ) -> dict[str, int]:
        now = datetime.now(UTC)
        if dry_run:
            return await _log_due(resources, shop, now, today)
        return await remind_shop(
            resources, settings(), shop, now=now, today=today, checkpoint=checkpoint, changes=changes
        )

    return await for_each_shop(domains, remind)


async def _log_due(resources: Resources, shop: ShopRef, now: datetime, today: date | None) -> dict[str, int]:
    """Log the reminders that a run would send, by registry: logs must not hold addresses."""
    owed = await find_due_reminders(resources, settings(), shop, now=now, today=today)
    for each in owed:
        get_run_logger().info("%s %s: event on %s, %d mails due", shop.domain, each.slug, each.event_date, each.mails)
    return {"due": sum(each.mails for each in owed)}
