"""A registry as its registrant sees it: the guests' answer, and what only the registrant may read."""

from wishcraft.cache.entries import Entry
from wishcraft.cache.read_permit import Trust
from wishcraft.domain.callers import Caller
from wishcraft.errors import DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.registries import reader
from wishcraft.store import private_fields
from wishcraft.store.deadline import within
from wishcraft.store.private_fields import VersionedFields


async def add_private_fields(resources: Resources, caller: Caller, slug: str, entry: Entry) -> Entry:
    """The entry for its registrant; unchanged while PostgreSQL does not answer. It is never put into Redis."""
    permit = resources.cache.permit
    if permit and permit.trust(caller.shop_id, slug) is Trust.SILENT:
        return entry
    try:
        found = await within(reader.DATABASE_READ_SECONDS, _find(resources, caller, slug))
    except DatabaseUnavailable:
        return entry
    return reader.with_private_fields(entry, found) if found else entry


async def _find(resources: Resources, caller: Caller, slug: str) -> VersionedFields | None:
    if caller.customer_id is None:
        return None
    return private_fields.read(await resources.db.fetch(private_fields.find(caller.shop_id, caller.customer_id, slug)))
