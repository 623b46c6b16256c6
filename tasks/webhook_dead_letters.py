"""The tasks of the jobs `webhook-dead-letters` and `webhook-sweep`."""

from collections.abc import Sequence
from typing import Final

from tasks.runtime.retries import task
from wishcraft.reports.page import Page
from wishcraft.reports.webhooks import dead_letters_page, decided_page
from wishcraft.resources import open_resources
from wishcraft.services.webhooks.consume import enqueue_due
from wishcraft.services.webhooks.dead_letters import Decision, decide, find_dead_letters
from wishcraft.settings import time_zone

MOST: Final = 500
_ACTOR: Final = "webhook-dead-letters"


@task("find dead letters")
async def list_dead_letters(shop: str | None) -> Page:
    """The page of the dead letters of a shop, or of all."""
    async with open_resources(redis_timeout=5) as resources:
        letters, total = await find_dead_letters(resources, shop, MOST)
    return dead_letters_page(letters, total, time_zone())


@task("{decision} dead letters")
async def decide_dead_letters(ids: Sequence[int], decision: Decision) -> Page:
    """Replay or discard these dead letters; the page of those that were."""
    async with open_resources(redis_timeout=5) as resources:
        letters = await decide(resources, _ACTOR, ids, decision)
    return decided_page(letters, len(set(ids)), decision, time_zone())


@task("sweep the inbox")
async def sweep_inbox() -> int:
    """Put webhooks that are due and not handled into the queue; their number."""
    async with open_resources(redis_timeout=5) as resources:
        return await enqueue_due(resources)
