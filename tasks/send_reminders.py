"""The tasks of the job `send-reminders`."""

from datetime import UTC, date, datetime

from prefect.logging import get_run_logger

from tasks.runtime.retries import for_each_shop, shop_names, task
from wishcraft.domain.work_results import WorkResult
from wishcraft.resources import Resources, open_resources
from wishcraft.services.checkpoint import Checkpoint
from wishcraft.services.reminders import send
from wishcraft.services.reminders.send import find_due_reminders, remind_shop
from wishcraft.settings import settings
from wishcraft.store.shops import ShopRef


@task(shop_names("remind"))
async def remind_shops(domains: list[str], *, dry_run: bool, today: date | None) -> list[WorkResult]:
    """Write to the registrants of these shops whose events are near."""

    async def remind(resources: Resources, shop: ShopRef, checkpoint: Checkpoint) -> dict[str, int]:
        now = datetime.now(UTC)
        if dry_run:
            return await _say_who(resources, shop, now, today)
        return await remind_shop(resources, settings(), shop, now=now, today=today, checkpoint=checkpoint)

    return await for_each_shop(domains, remind)


@task("judge refusals")
async def judge_refusals(since: datetime) -> None:
    """Suppress the addresses that were refused since then, unless most were.

    Raises:
        TooManyAddressesRejected: Most were.
    """
    async with open_resources() as resources:
        await send.judge_refusals(resources, since)


async def _say_who(resources: Resources, shop: ShopRef, now: datetime, today: date | None) -> dict[str, int]:
    """Log whom a run would write to: by registry, because addresses are for no log."""
    owed = await find_due_reminders(resources, settings(), shop, now=now, today=today)
    for each in owed:
        get_run_logger().info("%s %s: %s, %d to write to", shop.domain, each.slug, each.event_date, each.mails)
    return {"due": sum(each.mails for each in owed)}
