"""The job `check-invariants`."""

from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job, run_batches, summarise
from tasks.check_invariants import check_shops, publish_violations, summarise_lost
from tasks.runtime.shop_batches import find_shop_batches
from wishcraft.domain.invariants import WARNING_COUNTS, count_remaining
from wishcraft.reports.invariants import warning


@job("check-invariants")
async def check_invariants(
    shops: list[str] | None = None, repair: bool = True, sample: Annotated[int, Field(ge=1, le=5000)] = 100
) -> State[dict[str, int]]:
    """Find violated invariants, such as wrong counts of purchases, and repair them.

    Also writes the summaries of runs whose machine died.

    Args:
        shops: Domains of the shops to check, such as maple-and-pine.myshopify.com. All active shops if empty.
        repair: Repair what is safe to repair; otherwise only report it.
        sample: Number of each shop's cache entries that are compared with PostgreSQL, selected at random.
    """
    await summarise_lost()
    batches = await find_shop_batches(shops or [])
    results = await run_batches(check_shops, batches, repair=repair, sample=sample)
    if not shops and not any(result.problem or result.stopped for result in results):
        await publish_violations(count_remaining(results))
    return await summarise(
        "check-invariants", results, watched=WARNING_COUNTS, warning=warning(count_remaining(results))
    )
