"""The job `send-reminders`."""

from datetime import date

from prefect import State

from flows.job import job, run_batches, summarise
from tasks.send_reminders import remind_shops
from tasks.shops import find_shop_batches


@job("send-reminders")
async def send_reminders(
    shops: list[str] | None = None, dry_run: bool = False, today: date | None = None
) -> State[dict[str, int]]:
    """Write to the registrants whose event is a week or a day away, each once for each date of the event.

    Args:
        shops: Domains of the shops to remind, such as maple-and-pine.myshopify.com. All active shops if empty.
        dry_run: Say who would be reminded; send nothing.
        today: The day to remind for, in every shop. Each shop's own day, by its time zone, if empty.
    """
    batches = await find_shop_batches(shops or [])
    outcomes = await run_batches(remind_shops, batches, dry_run=dry_run, today=today)
    return await summarise("send-reminders", outcomes, watched=("postponed", "failed", "held"))
