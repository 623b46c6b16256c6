"""The job `send-reminders`."""

from datetime import date

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from flows.runtime.mail_refusals import suppress_refused
from tasks.mail_refusals import find_time
from tasks.runtime.shop_batches import find_shop_batches
from tasks.send_reminders import remind_shops
from wishcraft.analytics.filters import parse_day
from wishcraft.domain.mail_references import MailKind


@job("send-reminders")
async def send_reminders(
    shops: list[str] | None = None, dry_run: bool = False, today: date | None = None
) -> State[dict[str, int]]:
    """Send reminders to confirmed addresses a week and a day before the event.

    Args:
        shops: Domains of the shops to remind, such as maple-and-pine.myshopify.com. All active shops if empty.
        dry_run: Log the reminders that are due; send nothing.
        today: Day to send reminders for, in every shop. The current day in each shop's time zone if empty.
    """
    started = await find_time()
    batches = await find_shop_batches(shops or [])
    results = await run_batches(remind_shops, batches, dry_run=dry_run, today=parse_day(today))
    results = await suppress_refused(MailKind.REMINDER, results, started)
    return await summarise("send-reminders", results, watched=("paused", "refused", "postponed", "failed", "held"))
