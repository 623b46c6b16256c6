"""Queries about API keys."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.api_keys import NewKey
from wishcraft.domain.callers import Scope
from wishcraft.store.schema import ApiKey, Shop
from wishcraft.store.schema.access import ShopStatus


class KeyAge(NamedTuple):
    """A shop's API key that works, by its prefix."""

    shop: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class KeyHolder(NamedTuple):
    """Whom a key speaks for, what it may be used for and from where, and the digest that proves it."""

    shop_id: int
    key_hash: bytes
    scopes: list[str]
    ip_allow_list: list[str]
    expires_at: datetime | None


class KeyFacts(NamedTuple):
    """A key as its shop sees it."""

    name: str
    prefix: str
    scopes: list[str]
    ip_allow_list: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


_FACTS: Final = select(*(getattr(ApiKey, name) for name in KeyFacts._fields))
# A key in use is written down once a minute, not with each request.
_NOTE_USED: Final = text("""
UPDATE api_keys SET last_used_at = now()
WHERE prefix = ANY(:prefixes) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
""")


async def find_holder(session: AsyncSession, prefix: str) -> KeyHolder | None:
    """The holder of the key with this prefix, unless it is revoked, has expired, or its shop is gone.

    The prefix names one key of one shop, so this is the one query that needs no shop: it tells which.
    """
    query = (
        select(ApiKey.shop_id, ApiKey.key_hash, ApiKey.scopes, ApiKey.ip_allow_list, ApiKey.expires_at)
        .join(Shop, Shop.id == ApiKey.shop_id)
        .where(
            ApiKey.prefix == prefix,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
            Shop.status == ShopStatus.ACTIVE,
        )
    )
    row = (await session.execute(query)).one_or_none()
    return KeyHolder(row[0], row[1], row[2], [str(each) for each in row[3]], row[4]) if row else None


async def list_all(session: AsyncSession, shop_id: int) -> list[KeyFacts]:
    """The shop's keys, the newest first, those that were revoked too."""
    rows = await session.execute(_FACTS.where(ApiKey.shop_id == shop_id).order_by(ApiKey.id.desc()))
    return [_facts(row) for row in rows]


async def find(session: AsyncSession, shop_id: int, prefix: str) -> KeyFacts | None:
    """The shop's key with this prefix, locked."""
    query = _FACTS.where(ApiKey.shop_id == shop_id, ApiKey.prefix == prefix).with_for_update()
    row = (await session.execute(query)).one_or_none()
    return _facts(row) if row else None


async def add(
    session: AsyncSession,
    shop_id: int,
    name: str,
    new: NewKey,
    scopes: Sequence[Scope],
    ip_allow_list: Sequence[str],
    expires_at: datetime | None,
) -> KeyFacts:
    """Store what proves the key; the key itself is stored nowhere."""
    statement = insert(ApiKey).values(
        shop_id=shop_id,
        name=name,
        prefix=new.prefix,
        key_hash=new.digest,
        scopes=[scope.value for scope in scopes],
        ip_allow_list=list(ip_allow_list),
        expires_at=expires_at,
    )
    returned = statement.returning(*(getattr(ApiKey, column) for column in KeyFacts._fields))
    return _facts((await session.execute(returned)).one())


async def end(session: AsyncSession, shop_id: int, prefix: str, after: timedelta) -> None:
    """Let the key expire after a while, unless it does so sooner."""
    at = func.least(ApiKey.expires_at, func.now() + after)  # PostgreSQL's `least` passes over what is null
    where = (ApiKey.shop_id == shop_id, ApiKey.prefix == prefix)
    await session.execute(update(ApiKey).where(*where).values(expires_at=at))


async def revoke(session: AsyncSession, shop_id: int, prefix: str) -> bool:
    """End the key now; False if the shop has no such key. One that was revoked stays as it is."""
    where = (ApiKey.shop_id == shop_id, ApiKey.prefix == prefix)
    statement = update(ApiKey).where(*where).values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
    return bool((await session.execute(statement.returning(ApiKey.id))).all())


async def record_use(session: AsyncSession, prefixes: Sequence[str]) -> None:
    """Write down that these keys were used just now."""
    await session.execute(_NOTE_USED, {"prefixes": list(prefixes)})


async def find_ages(session: AsyncSession) -> list[KeyAge]:
    """The keys of active shops that are neither revoked nor past their end, by shop."""
    query = (
        select(Shop.domain, ApiKey.prefix, ApiKey.created_at, ApiKey.expires_at, ApiKey.last_used_at)
        .join(Shop, Shop.id == ApiKey.shop_id)
        .where(
            Shop.status == ShopStatus.ACTIVE,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
        )
        .order_by(Shop.domain, ApiKey.id)
    )
    return [KeyAge(*row) for row in await session.execute(query)]


def _facts(row: Sequence[object]) -> KeyFacts:
    facts = KeyFacts(*row)  # type: ignore[arg-type]  # the columns are selected by the fields' names
    return facts._replace(ip_allow_list=[str(each) for each in facts.ip_allow_list])
