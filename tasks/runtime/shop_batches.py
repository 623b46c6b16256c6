"""Work on shops: which shops a run is for, in one batch per task, and the loop over the shops of a batch."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import ceil
from typing import Final, Protocol

from prefect.runtime import task_run

from tasks.runtime.retries import MAX_TRIES, task
from tasks.runtime.work_items import WorkState, work_on_items
from wishcraft.domain.batches import batches
from wishcraft.errors import ShopErased, ShopifyClientRefused, ShopifyUnauthorized, TransientError, UnknownShop
from wishcraft.observability.context import log_context
from wishcraft.resources import Resources, open_resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef

MAX_TASKS: Final = 16
"""Of a run, for any number of shops: a task run costs the Prefect server about 30 ms and 19 KB."""


WAITED: Final = "seconds_of_waiting_for_Shopify"
"""Count of a run: the time in which Shopify had no points for a shop, or did not answer. Absent if it is 0."""
UNINSTALLED: Final = "uninstalled_meanwhile"
"""Count of a run: shops that had the app when it began, and have uninstalled it since. Absent if there are none."""


class ShopWork(Protocol):
    """The work on one shop; it returns its counts."""

    def __call__(
        self, resources: Resources, shop: ShopRef, /, *, checkpoint: Checkpoint, changes: Changes
    ) -> Awaitable[Mapping[str, int]]:
        """Do the work; `checkpoint` is called between batches, and `changes` filled after each."""


@task("find shops")
async def find_shop_batches(domains: list[str]) -> list[list[str]]:
    """Domains of the shops of a run, in one batch per task; all active shops if `domains` is empty.

    Raises:
        UnknownShop: A domain is not that of an active shop.
    """
    async with open_resources() as resources, resources.db.repeatable_read() as session:
        found = [shop.domain for shop in await shops.find_active(session, domains)]
    return [list(batch) for batch in batches(found, max(1, -(-len(found) // MAX_TASKS)))]


async def find_shop(resources: Resources, domain: str) -> ShopRef:
    """The active shop with this domain.

    Raises:
        UnknownShop: There is none.
    """
    async with resources.db.repeatable_read() as session:
        [shop] = await shops.find_active(session, [domain])
    return shop


def name_by_shops(verb: str) -> Callable[[], str]:
    """Names a task run after its parameter `domains`: `warm a.myshopify.com and 2 more`."""

    def name() -> str:
        domains: list[str] = task_run.parameters["domains"]
        more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
        return f"{verb} {domains[0]}{more}"

    return name


async def for_each_shop(domains: Sequence[str], work: ShopWork) -> WorkState:
    """Do the work for each shop in turn; a shop's failure is its own result and does not stop the others.

    A shop that uninstalls the app after the run has begun is no failure: it is counted, with what was changed before.
    Returns and raises as `work_on_items`.
    """
    async with open_resources(redis_timeout=5) as resources:

        async def work_on_shop(domain: str, checkpoint: Checkpoint, changes: Changes) -> Mapping[str, int]:
            with log_context(shop=domain):
                try:
                    shop = await find_shop(resources, domain)
                    counts = await work(resources, shop, checkpoint=checkpoint, changes=changes)
                except (UnknownShop, ShopErased, ShopifyUnauthorized) as error:
                    if await _is_active(resources, domain):
                        # Tokens end with the app; the webhook that says so comes some seconds later.
                        if isinstance(error, ShopifyClientRefused) and task_run.run_count < MAX_TRIES:
                            raise TransientError(str(error)) from None
                        raise
                    counts = {**changes, UNINSTALLED: 1}
                finally:
                    if waited := ceil(resources.shopify.seconds_waited[domain]):
                        changes[WAITED] = waited
                return {**counts, WAITED: waited} if waited else counts

        return await work_on_items({domain: domain for domain in domains}, work_on_shop)


async def _is_active(resources: Resources, domain: str) -> bool:
    async with resources.db.repeatable_read() as session:
        return await shops.find_by_domain(session, domain) is not None
