"""The job `check-invariants`."""

from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job, run_batches, summarise
from tasks.check_invariants import check_shops, tell_violations
from tasks.runtime.shop_batches import find_shop_batches
from wishcraft.domain.invariants import WARNING_COUNTS, count_remaining
from wishcraft.reports.invariants import warning


@job("check-invariants")
async def check_invariants(
    shops: list[str] | None = None, repair: bool = True, sample: Annotated[int, Field(ge=1, le=5000)] = 100
) -> State[dict[str, int]]:
    """Look for what must never be, such as wrong counts of purchases, and put it right.

    Args:
        shops: Domains of the shops to check, such as maple-and-pine.myshopify.com. All active shops if empty.
        repair: Put right what can be put right safely; otherwise only tell of it.
        sample: How many of a shop's entries in Redis are compared with the database, picked at random.
    """
    batches = await find_shop_batches(shops or [])
    outcomes = await run_batches(check_shops, batches, repair=repair, sample=sample)
    if not shops and not any(outcome.problem or outcome.stopped for outcome in outcomes):
        await tell_violations(count_remaining(outcomes))
    return await summarise(
        "check-invariants", outcomes, watched=WARNING_COUNTS, warning=warning(count_remaining(outcomes))
    )
