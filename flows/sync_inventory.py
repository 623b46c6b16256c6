"""The job `sync-inventory`."""

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from tasks.runtime.shop_batches import find_shop_batches
from tasks.sync_inventory import sync_shops


@job("sync-inventory")
async def sync_inventory(shops: list[str] | None = None, dry_run: bool = False) -> State[dict[str, int]]:
    """Read every variant in a registry from Shopify, write changes, and refill the cache entries of changed registries.

    Args:
        shops: Domains of the shops to sync, such as maple-and-pine.myshopify.com. All active shops if empty.
        dry_run: Count the changes; write nothing.
    """
    batches = await find_shop_batches(shops or [])
    results = await run_batches(sync_shops, batches, dry_run=dry_run)
    return await summarise(
        "sync-inventory", results, watched=("out_of_stock", "low_stock", "deleted", "unreadable", "closed_in_Shopify")
    )
