"""Tasks about which shops a run is for."""

from typing import Final

from tasks.runtime.retries import task
from wishcraft.domain.batches import batches
from wishcraft.resources import open_resources
from wishcraft.store import shops

MOST_TASKS: Final = 16
"""Each task run costs the Prefect server some 30 ms and 19 KB: a run has this many at the most, however many shops."""


@task("find shops")
async def find_shop_batches(domains: list[str]) -> list[list[str]]:
    """The domains of the shops to work on, in one batch per task: all active shops if `domains` is empty.

    Raises:
        UnknownShop: A domain names no active shop.
    """
    async with open_resources() as resources, resources.db.repeatable_read() as session:
        found = [shop.domain for shop in await shops.find_active(session, domains)]
    return [list(batch) for batch in batches(found, max(1, -(-len(found) // MOST_TASKS)))]
