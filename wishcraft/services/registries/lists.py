"""Public lists of registries, read from a replica where a few seconds do not matter."""

from wishcraft.domain.callers import Caller
from wishcraft.domain.registry_payload import Summary
from wishcraft.resources import Resources
from wishcraft.store import registry_lists
from wishcraft.store.registry_lists import Page, PageRequest, Search


async def list_public(resources: Resources, caller: Caller, page: PageRequest, search: Search) -> Page[Summary]:
    """A page of the shop's public registries that match the search."""
    async with resources.db.autocommit() as session:
        return await registry_lists.list_public(session, caller.shop_id, page, search)
