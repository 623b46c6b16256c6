"""The task of the job `match-purchases`."""

from typing import Final

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import find_shop
from wishcraft.reports.page import Page
from wishcraft.reports.webhooks import unmatched_page
from wishcraft.resources import open_resources
from wishcraft.services.purchases.match import dismiss, find_unmatched, match
from wishcraft.settings import time_zone

MOST: Final = 500


@task("match purchases of {domain}")
async def match_line_item(domain: str, unmatched: int | None, item: int | None) -> Page:
    """Match the line item with the item, dismiss it without one, or do neither; the page of what waits then.

    Raises:
        QueryRefused: There is no such shop, line item or item.
    """
    async with open_resources(redis_timeout=5) as resources:
        shop = await find_shop(resources, domain)
        if unmatched and item:
            await match(resources, shop, unmatched, item)
        elif unmatched:
            await dismiss(resources, shop, unmatched)
        found = await find_unmatched(resources, shop, MOST)
    return unmatched_page(shop.domain, *found, time_zone())
