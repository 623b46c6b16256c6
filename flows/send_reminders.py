"""The job `send-reminders`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from tasks.runtime.retries import advice_for, problem_of
from tasks.runtime.shop_batches import find_shop_batches
from tasks.send_reminders import judge_refusals, remind_shops
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import TooManyAddressesRejected
from wishcraft.observability.sentry import capture_error


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
    began = datetime.now(UTC)
    batches = await find_shop_batches(shops or [])
    outcomes = await run_batches(remind_shops, batches, dry_run=dry_run, today=today)
    if any(outcome.counts.get("refused") for outcome in outcomes):
        outcomes = await _judge(outcomes, began)
    return await summarise("send-reminders", outcomes, watched=("refused", "postponed", "failed", "held"))


async def _judge(outcomes: Sequence[WorkResult], began: datetime) -> list[WorkResult]:
    """What became of the shops once it is decided whether the mail server's refusals are believed."""
    try:
        await judge_refusals(began)
    except TooManyAddressesRejected as error:
        capture_error(error)
        return [
            replace(each, problem=problem_of(error), advice=advice_for(error)) if each.counts.get("refused") else each
            for each in outcomes
        ]
    return list(outcomes)
