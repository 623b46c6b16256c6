"""The tasks of the jobs `webhook-dead-letters` and `webhook-sweep`."""

from collections.abc import Sequence
from typing import Final

from prefect.runtime import flow_run

from tasks.runtime.retries import task
from wishcraft.reports.page import Page
from wishcraft.reports.webhooks import dead_letters_page, decided_page, inspected_page
from wishcraft.resources import open_resources
from wishcraft.services.webhooks.consume import enqueue_due
from wishcraft.services.webhooks.dead_letters import Decision, decide, decide_all, find_dead_letters, inspect
from wishcraft.settings import time_zone

MAX_LISTED: Final = 500


@task("find dead letters")
async def list_dead_letters(shop: str | None) -> Page:
    """The page of the dead letters of a shop, or of all.

    Raises:
        QueryRefused: There is no such shop.
    """
    async with open_resources(redis_timeout=5) as resources:
        letters, total = await find_dead_letters(resources, shop, MAX_LISTED)
    return dead_letters_page(letters, total, time_zone())


@task("inspect dead letters")
async def inspect_dead_letters(shop: str | None, ids: Sequence[int]) -> Page:
    """The page of these dead letters, with their failures and what may be shown of their payloads.

    Raises:
        QueryRefused: One is not a dead letter of the shop, or of any.
    """
    async with open_resources(redis_timeout=5) as resources:
        return inspected_page(await inspect(resources, shop, ids), time_zone())


@task("{decision} dead letters")
async def decide_dead_letters(shop: str | None, ids: Sequence[int] | None, decision: Decision) -> Page:
    """Replay or discard these dead letters, or without ids all of the shop or of all; the page of those that were.

    Raises:
        QueryRefused: One is not a dead letter of the shop, or of any; or cannot be replayed.
    """
    details = {"run": str(flow_run.id)}
    async with open_resources(redis_timeout=5) as resources:
        if ids is None:
            letters = await decide_all(resources, shop, decision, details)
        else:
            letters = await decide(resources, shop, ids, decision, details)
    return decided_page(letters, decision, time_zone())


@task("sweep the inbox")
async def sweep_inbox() -> int:
    """Put webhooks that are due and not handled into the queue; their number."""
    async with open_resources(redis_timeout=5) as resources:
        return (await enqueue_due(resources)).added
