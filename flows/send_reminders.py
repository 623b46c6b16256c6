"""The job `send-reminders`."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from flows.runtime.mail_refusals import suppress_refused
from tasks.runtime.shop_batches import find_shop_batches
from tasks.send_reminders import remind_shops
from wishcraft.analytics.filters import parse_day
from wishcraft.domain.mail_references import MailKind
from wishcraft.errors import QueryRefused

_FIRST_TIMEZONE: Final = timedelta(hours=14)
"""UTC+14 is the first time zone to begin a day: one that has not begun there has begun for no shop."""


@job("send-reminders")
async def send_reminders(
    shops: list[str] | None = None, dry_run: bool = False, today: date | None = None
) -> State[dict[str, int]]:
    """Send reminders to confirmed addresses a week and a day before the event.

    Args:
        shops: Domains of the shops to remind, such as maple-and-pine.myshopify.com. All active shops if empty.
        dry_run: Log the reminders that are due; send nothing.
        today: Day to send reminders for, in every shop; one that is to come only as a dry run. The current day in
            each shop's time zone if empty.
    """
    started = datetime.now(UTC)
    day = parse_day(today)
    if day and not dry_run and day > (started + _FIRST_TIMEZONE).date():
        raise QueryRefused(f"the day {day} is yet to come: choose dry_run to see what will be due")
    batches = await find_shop_batches(shops or [])
    results = await run_batches(remind_shops, batches, dry_run=dry_run, today=day)
    results = await suppress_refused(MailKind.REMINDER, results, started)
    return await summarise("send-reminders", results, watched=("paused", "refused", "postponed", "failed", "held"))
