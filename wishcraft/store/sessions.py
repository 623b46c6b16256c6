"""Queries about sessions, each scoped to one shop."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema import Session
from wishcraft.store.schema.access import SessionKind


async def add_grant(session: AsyncSession, shop_id: int, session_id: str, slug: str, expires_at: datetime) -> None:
    """Store a grant: the session may read the registry until it expires."""
    await session.execute(
        insert(Session).values(
            id=session_id, shop_id=shop_id, kind=SessionKind.GUEST_GRANT, subject=slug, expires_at=expires_at
        )
    )


async def find_grant(session: AsyncSession, shop_id: int, session_id: str) -> tuple[str, datetime] | None:
    """The slug that the session may read, and when it expires; None if there is no such grant or it has expired."""
    query = select(Session.subject, Session.expires_at).where(
        Session.shop_id == shop_id,
        Session.id == session_id,
        Session.kind == SessionKind.GUEST_GRANT,
        Session.expires_at > func.now(),
    )
    row = (await session.execute(query)).one_or_none()
    return (row[0], row[1]) if row else None


async def end_grants(session: AsyncSession, shop_id: int, slugs: Collection[str]) -> dict[str, list[str]]:
    """Delete all grants for these registries; returns their ids, by slug."""
    where = (Session.shop_id == shop_id, Session.kind == SessionKind.GUEST_GRANT, Session.subject.in_(slugs))
    ended: dict[str, list[str]] = {slug: [] for slug in slugs}
    for session_id, slug in await session.execute(delete(Session).where(*where).returning(Session.id, Session.subject)):
        ended[slug].append(session_id)
    return ended
