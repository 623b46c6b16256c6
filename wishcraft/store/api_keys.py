"""Queries about API keys."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema import ApiKey, Shop
from wishcraft.store.schema.access import ShopStatus


class KeyHolder(NamedTuple):
    """Whom a key speaks for, and the digest that proves it."""

    shop_id: int
    key_hash: bytes
    expires_at: datetime | None


async def find_holder(session: AsyncSession, prefix: str) -> KeyHolder | None:
    """The holder of the key with this prefix, unless it is revoked, has expired, or its shop is gone.

    The prefix names one key of one shop, so this is the one query that needs no shop: it tells which.
    """
    query = (
        select(ApiKey.shop_id, ApiKey.key_hash, ApiKey.expires_at)
        .join(Shop, Shop.id == ApiKey.shop_id)
        .where(
            ApiKey.prefix == prefix,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
            Shop.status == ShopStatus.ACTIVE,
        )
    )
    row = (await session.execute(query)).one_or_none()
    return KeyHolder(*row) if row else None
