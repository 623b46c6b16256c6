"""The job `cache-warm`."""

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from tasks.cache_warm import warm_shops
from tasks.runtime.shop_batches import find_shop_batches


@job("cache-warm")
async def cache_warm(shops: list[str] | None = None, force: bool = False) -> State[dict[str, int]]:
    """Fill the cache with every active registry of the active shops, most viewed first, within each shop's quota.

    Args:
        shops: Domains of the shops to warm, such as maple-and-pine.myshopify.com. All active shops if empty.
        force: Write every entry again, including those that are current.
    """
    batches = await find_shop_batches(shops or [])
    results = await run_batches(warm_shops, batches, force=force)
    return await summarise("cache-warm", results)
