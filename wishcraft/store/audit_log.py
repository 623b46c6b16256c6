"""Inserts into the audit log: who did what to which resource, and from where."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema import AuditLog


class Origin(NamedTuple):
    """IP address and user agent of a request."""

    ip: str | None = None
    user_agent: str | None = None


class Actor(NamedTuple):
    """Who acts in a shop: a caller's name (`key:…`, `customer:…`, `admin:…`) or a job's, and the request's origin."""

    shop_id: int
    name: str
    origin: Origin = Origin()


async def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    resource: str,
    resource_id: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Insert an audit log entry. Call it in the transaction of the audited change."""
    await session.execute(
        insert(AuditLog).values(
            shop_id=actor.shop_id,
            actor=actor.name,
            action=action,
            resource=resource,
            resource_id=resource_id,
            details=dict(details or {}),
            ip=actor.origin.ip,
            user_agent=actor.origin.user_agent,
        )
    )
