"""Queries about API keys."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.api_keys import NewKey
from wishcraft.domain.callers import Scope
from wishcraft.store.schema import ApiKey, Shop
from wishcraft.store.schema.shops import ShopStatus


class KeyAge(NamedTuple):
    """Dates of a live API key."""

    shop: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class KeyHolder(NamedTuple):
    """Shop, scopes and allowed networks of a live key, and the digest to verify it with."""

    shop_id: int
    key_hash: bytes
    scopes: list[str]
    ip_allow_list: list[str]
    expires_at: datetime | None
    shop_domain: str
    is_installed: bool
    """Whether the shop has the app."""


class KeyFacts(NamedTuple):
    """A key as the shop's administrator sees it."""

    name: str
    prefix: str
    scopes: list[str]
    ip_allow_list: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


_COLUMNS: Final = tuple(getattr(ApiKey, name) for name in KeyFacts._fields)
_FACTS: Final = select(*_COLUMNS)
_IS_LIVE: Final = (ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()))
# At most one write a minute for each key.
_NOTE_USED: Final = text("""
UPDATE api_keys SET last_used_at = now()
WHERE prefix = ANY(:prefixes) AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
""")


async def find_holder(session: AsyncSession, prefix: str) -> KeyHolder | None:
    """The holder of the key with this prefix, whether or not its shop is active; None if it is revoked or expired.

    Not scoped by shop: the prefix is unique, and the result says which shop it is.
    """
    query = (
        select(
            ApiKey.shop_id,
            ApiKey.key_hash,
            ApiKey.scopes,
            ApiKey.ip_allow_list,
            ApiKey.expires_at,
            Shop.domain,
            Shop.status,
        )
        .join(Shop, Shop.id == ApiKey.shop_id)
        .where(ApiKey.prefix == prefix, *_IS_LIVE)
    )
    row = (await session.execute(query)).one_or_none()
    if row is None:
        return None
    networks, is_installed = [str(each) for each in row[3]], row.status is ShopStatus.ACTIVE
    return KeyHolder(row[0], row[1], row[2], networks, row[4], row.domain, is_installed)


async def list_all(session: AsyncSession, shop_id: int) -> list[KeyFacts]:
    """The shop's keys, newest first, including revoked ones."""
    rows = await session.execute(_FACTS.where(ApiKey.shop_id == shop_id).order_by(ApiKey.id.desc()))
    return [_facts(row) for row in rows]


async def lock(session: AsyncSession, shop_id: int, prefixes: Collection[str]) -> dict[str, KeyFacts]:
    """The shop's keys with these prefixes, by prefix; locks the rows, in the order of their ids."""
    where = (ApiKey.shop_id == shop_id, ApiKey.prefix.in_(prefixes))
    rows = await session.execute(_FACTS.where(*where).order_by(ApiKey.id).with_for_update())
    return {key.prefix: key for key in map(_facts, rows)}


async def add(
    session: AsyncSession,
    shop_id: int,
    name: str,
    new: NewKey,
    scopes: Sequence[Scope],
    ip_allow_list: Sequence[str],
    expires_at: datetime | None,
) -> KeyFacts:
    """Insert the key's prefix and digest; the key itself is not stored."""
    statement = insert(ApiKey).values(
        shop_id=shop_id,
        name=name,
        prefix=new.prefix,
        key_hash=new.digest,
        scopes=[scope.value for scope in scopes],
        ip_allow_list=list(ip_allow_list),
        expires_at=expires_at,
    )
    return _facts((await session.execute(statement.returning(*_COLUMNS))).one())


async def find_successor(session: AsyncSession, shop_id: int, prefix: str) -> str | None:
    """The prefix of the key that replaced the one with this prefix; None if none has."""
    query = select(ApiKey.successor).where(ApiKey.shop_id == shop_id, ApiKey.prefix == prefix)
    return (await session.execute(query)).scalar_one_or_none()


async def end(session: AsyncSession, shop_id: int, prefix: str, successor: str, after: timedelta) -> None:
    """Let the key, which the successor replaces, expire in `after`, or at its own expiry if that is earlier."""
    at = func.least(ApiKey.expires_at, func.now() + after)  # PostgreSQL's `least` ignores NULL
    where = (ApiKey.shop_id == shop_id, ApiKey.prefix == prefix)
    await session.execute(update(ApiKey).where(*where).values(expires_at=at, successor=successor))


async def revoke(session: AsyncSession, shop_id: int, prefix: str) -> bool:
    """Revoke the key now; a revoked key keeps its date. False if the shop has no such key."""
    where = (ApiKey.shop_id == shop_id, ApiKey.prefix == prefix)
    statement = update(ApiKey).where(*where).values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
    return bool((await session.execute(statement.returning(ApiKey.id))).all())


async def record_use(session: AsyncSession, prefixes: Sequence[str]) -> None:
    """Record that these keys were used just now."""
    await session.execute(_NOTE_USED, {"prefixes": list(prefixes)})


async def find_ages(session: AsyncSession) -> list[KeyAge]:
    """The live keys of active shops, ordered by shop, without those that were replaced and end with their grace."""
    query = (
        select(Shop.domain, ApiKey.prefix, ApiKey.created_at, ApiKey.expires_at, ApiKey.last_used_at)
        .join(Shop, Shop.id == ApiKey.shop_id)
        .where(Shop.status == ShopStatus.ACTIVE, ApiKey.successor.is_(None), *_IS_LIVE)
        .order_by(Shop.domain, ApiKey.id)
    )
    return [KeyAge(*row) for row in await session.execute(query)]


def _facts(row: Sequence[object]) -> KeyFacts:
    facts = KeyFacts(*row)  # type: ignore[arg-type]  # the columns are selected by the fields' names
    return facts._replace(ip_allow_list=[str(each) for each in facts.ip_allow_list])
