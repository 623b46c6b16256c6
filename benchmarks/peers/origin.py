"""Response bodies for the peers on a cache miss: the API's query in a session of SQLAlchemy, with pings."""

from typing import Final

from fastapi import HTTPException
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from wishcraft.settings import settings
from wishcraft.store import shops
from wishcraft.store.registry_payloads import PAYLOADS, read

_engine: Final = create_async_engine(settings().database_url, pool_size=10, max_overflow=0, pool_pre_ping=True)
_sessions: Final = async_sessionmaker(_engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False)
_shop_ids: Final[dict[str, int]] = {}


async def load(domain: str, slug: str) -> bytes:
    """The response body of a registry; shop ids are cached."""
    parameters = {"shop_id": await _shop_id(domain), "slugs": [slug]}
    async with _sessions() as session:
        rows = (await session.execute(PAYLOADS, parameters)).all()
    document = read([tuple(row) for row in rows], settings().shopify_origin).get(slug)
    if document is None:
        raise HTTPException(404)
    return document.body


async def _shop_id(domain: str) -> int:
    if domain not in _shop_ids:
        async with _sessions() as session:
            shop = await shops.find_by_domain(session, domain)
        if shop is None:
            raise HTTPException(404)
        _shop_ids[domain] = shop.id
    return _shop_ids[domain]
