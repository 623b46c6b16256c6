"""Queries about shops."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.errors import UnknownShop
from wishcraft.store.schema import Shop, ShopSettings
from wishcraft.store.schema.access import ShopStatus


class TokenAge(NamedTuple):
    """What an active shop let us have of tokens."""

    shop: str
    has_token: bool
    can_renew: bool
    expires_at: datetime | None


class ShopRef(NamedTuple):
    """A shop as the jobs and the API handle it: without its tokens."""

    id: int
    domain: str
    settings: ShopSettings


_REF = select(Shop.id, Shop.domain, Shop.settings).where(Shop.status == ShopStatus.ACTIVE)


async def find_active(session: AsyncSession, domains: Sequence[str] = ()) -> list[ShopRef]:
    """The active shops by domain; all of them if `domains` is empty.

    Raises:
        UnknownShop: A domain names no active shop; the message says which.
    """
    query = _REF.where(Shop.domain.in_(domains)) if domains else _REF
    shops = [ShopRef(*row) for row in await session.execute(query.order_by(Shop.domain))]
    missing = set(domains) - {shop.domain for shop in shops}
    if missing:
        raise UnknownShop(f"no active shop has the domain {', '.join(sorted(missing))}")
    return shops


async def find_by_domain(session: AsyncSession, domain: str) -> ShopRef | None:
    """The active shop with this domain."""
    row = (await session.execute(_REF.where(Shop.domain == domain))).one_or_none()
    return ShopRef(*row) if row else None


async def find_domain(session: AsyncSession, shop_id: int) -> str:
    """The domain of the shop with this id, which exists."""
    return (await session.execute(select(Shop.domain).where(Shop.id == shop_id))).scalar_one()


async def find_settings(session: AsyncSession, shop_id: int) -> ShopSettings:
    """What the merchant of the shop with this id, which exists, has set."""
    return (await session.execute(select(Shop.settings).where(Shop.id == shop_id))).scalar_one()


async def record_sync(session: AsyncSession, shop_id: int) -> None:
    """Write down that a sync of the shop's inventory has just come to its end."""
    await session.execute(text("UPDATE shops SET synced_at = now() WHERE id = :shop_id"), {"shop_id": shop_id})


async def find_token_ages(session: AsyncSession) -> list[TokenAge]:
    """What is known of the active shops' tokens, not the tokens."""
    query = (
        select(
            Shop.domain,
            Shop.access_token_encrypted.is_not(None),
            Shop.refresh_token_encrypted.is_not(None),
            Shop.token_expires_at,
        )
        .where(Shop.status == ShopStatus.ACTIVE)
        .order_by(Shop.domain)
    )
    return [TokenAge(*row) for row in await session.execute(query)]
