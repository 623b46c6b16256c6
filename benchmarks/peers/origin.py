"""Response bodies for the peers on a cache miss: PostgreSQL, with the API's query."""

from typing import Final

from fastapi import HTTPException

from wishcraft.services.registries.reader import load_registries
from wishcraft.settings import settings
from wishcraft.store import shops
from wishcraft.store.engine import Database

_db: Final = Database(settings().database_url)
_shop_ids: Final[dict[str, int]] = {}


async def load(domain: str, slug: str) -> bytes:
    """The response body of a registry; shop ids are cached."""
    document = (await load_registries(_db, await _shop_id(domain), [slug])).get(slug)
    if document is None:
        raise HTTPException(404)
    return document.body


async def _shop_id(domain: str) -> int:
    if domain not in _shop_ids:
        async with _db.repeatable_read() as session:
            shop = await shops.find_by_domain(session, domain)
        if shop is None:
            raise HTTPException(404)
        _shop_ids[domain] = shop.id
    return _shop_ids[domain]
