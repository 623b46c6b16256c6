"""The job `reconcile-orders`."""

from datetime import date, datetime

from prefect import State

from flows.runtime.job import job, run_batches, summarise
from tasks.reconcile_orders import reconcile_shops
from tasks.runtime.shop_batches import find_shop_batches
from wishcraft.analytics.filters import parse_days
from wishcraft.errors import QueryRefused
from wishcraft.services.purchases.reconcile import REACH
from wishcraft.settings import time_zone


@job("reconcile-orders")
async def reconcile_orders(
    shops: list[str] | None = None,
    first_day: date | None = None,
    last_day: date | None = None,
    dry_run: bool = False,
) -> State[dict[str, int]]:
    """Read orders from Shopify, and record the purchases, refunds and cancellations that no webhook has brought.

    Args:
        shops: Domains of the shops, such as maple-and-pine.myshopify.com. All active shops if empty.
        first_day: Read the orders that changed last on this day of TZ or later, at most 60 days ago. Without days,
            those that changed since the last such run.
        last_day: Read the orders that changed last on this day or earlier.
        dry_run: Count the orders that were missed; write nothing.
    """
    days = parse_days(first_day, last_day)
    today = datetime.now(time_zone()).date()
    if days.first and days.first < today - REACH:
        raise QueryRefused(f"Shopify gives the orders of the last {REACH.days} days: first_day is before that")
    if (days.first and days.first > today) or (days.last and days.last < today - REACH):
        raise QueryRefused(f"the days have no day of the last {REACH.days}")
    batches = await find_shop_batches(shops or [])
    results = await run_batches(reconcile_shops, batches, days=days, dry_run=dry_run)
    return await summarise(
        "reconcile-orders", results, watched=("missed", "deleted", "overdue", "unreadable", "closed_in_Shopify")
    )
