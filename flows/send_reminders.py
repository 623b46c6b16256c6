"""The job `send-reminders`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from tasks.runtime.retries import advice_for, problem_of
from tasks.runtime.shop_batches import find_shop_batches
from tasks.send_reminders import judge_refusals, remind_shops
from wishcraft.analytics.filters import parse_day
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import TooManyAddressesRejected
from wishcraft.observability.sentry import capture_error


@job("send-reminders")
async def send_reminders(
    shops: list[str] | None = None, dry_run: bool = False, today: date | None = None
) -> State[dict[str, int]]:
    """Send reminders to registrants a week and a day before their event, once each per event date.

    Args:
        shops: Domains of the shops to remind, such as maple-and-pine.myshopify.com. All active shops if empty.
        dry_run: Log the reminders that are due; send nothing.
        today: Day to send reminders for, in every shop. The current day in each shop's time zone if empty.
    """
    started = datetime.now(UTC)
    batches = await find_shop_batches(shops or [])
    results = await run_batches(remind_shops, batches, dry_run=dry_run, today=parse_day(today))
    if any(result.counts.get("refused") for result in results):
        results = await _judge_refusals(results, started)
    return await summarise("send-reminders", results, watched=("refused", "postponed", "failed", "held"))


async def _judge_refusals(results: Sequence[WorkResult], started: datetime) -> list[WorkResult]:
    """Suppress refused addresses; if the refusals are doubted, the shops that had some fail."""
    try:
        await judge_refusals(started)
    except TooManyAddressesRejected as error:
        capture_error(error)
        return [
            replace(each, problem=problem_of(error), advice=advice_for(error)) if each.counts.get("refused") else each
            for each in results
        ]
    return list(results)
