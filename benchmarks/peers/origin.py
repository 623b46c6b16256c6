"""Response bodies for the peers on a cache miss: PostgreSQL, with the API's query."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from fastapi import HTTPException

from wishcraft.resources import Resources, open_resources
from wishcraft.services.registries.reader import load_registries
from wishcraft.store import shops

_clients: Final = AsyncExitStack()
_opening: Final[list["asyncio.Task[Resources]"]] = []
_shop_ids: Final[dict[str, int]] = {}


async def load(domain: str, slug: str) -> bytes:
    """The response body of a registry; shop ids are cached."""
    if not _opening:
        _opening.append(asyncio.create_task(_clients.enter_async_context(open_resources())))
    resources = await _opening[0]
    document = (await load_registries(resources, await _shop_id(resources, domain), [slug])).get(slug)
    if document is None:
        raise HTTPException(404)
    return document.body


async def _shop_id(resources: Resources, domain: str) -> int:
    if domain not in _shop_ids:
        async with resources.db.repeatable_read() as session:
            shop = await shops.find_by_domain(session, domain)
        if shop is None:
            raise HTTPException(404)
        _shop_ids[domain] = shop.id
    return _shop_ids[domain]
