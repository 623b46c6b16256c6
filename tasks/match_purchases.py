"""The tasks of the job `match-purchases`."""

from typing import Final

from prefect.runtime import flow_run

from tasks.runtime.retries import task
from tasks.runtime.shop_batches import find_shop
from wishcraft.reports.page import Page
from wishcraft.reports.webhooks import unmatched_page
from wishcraft.resources import open_resources
from wishcraft.services.purchases.match import dismiss, find_unmatched, match
from wishcraft.settings import time_zone

MAX_LISTED: Final = 500


@task("match a line item of {domain}")
async def match_line_item(domain: str, unmatched: int, item: int | None) -> None:
    """Match the line item with the item, or dismiss it without one.

    Raises:
        QueryRefused: There is no such shop, line item or item.
    """
    details = {"run": str(flow_run.id)}
    async with open_resources(redis_timeout=5) as resources:
        shop = await find_shop(resources, domain)
        if item:
            await match(resources, shop, unmatched, item, details)
        else:
            await dismiss(resources, shop, unmatched, details)


@task("find unmatched line items of {domain}")
async def list_unmatched(domain: str) -> Page:
    """The page of what waits to be matched.

    Raises:
        QueryRefused: There is no such shop.
    """
    async with open_resources(redis_timeout=5) as resources:
        shop = await find_shop(resources, domain)
        found = await find_unmatched(resources, shop, MAX_LISTED)
    return unmatched_page(shop.domain, *found, time_zone())
