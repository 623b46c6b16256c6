"""The public list of registries, read from a replica where a few seconds do not matter."""

from wishcraft.domain.callers import Caller
from wishcraft.domain.registry_payload import Summary
from wishcraft.observability.metrics import LIST_READS
from wishcraft.resources import Resources
from wishcraft.store import registry_lists
from wishcraft.store.engine import Database
from wishcraft.store.registry_lists import Page, PageRequest, Search


async def list_public(resources: Resources, caller: Caller, page: PageRequest, search: Search) -> Page[Summary]:
    """A page of the shop's public registries that match the search.

    Callers who may change registries get it from the primary, in every process, so that they see what they changed.
    """

    async def read(db: Database) -> Page[Summary]:
        return await registry_lists.list_public(db, caller.shop_id, page, search, resources.shopify_origin)

    if resources.replica and not caller.may_write and (found := await resources.replica.try_read(read)):
        LIST_READS.labels("replica").inc()
        return found
    LIST_READS.labels("primary").inc()
    return await read(resources.db)
