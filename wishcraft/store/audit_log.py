"""Inserts into the audit log."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema import AuditLog


class Origin(NamedTuple):
    """Client address and user agent of a request."""

    ip: str | None = None
    user_agent: str | None = None


async def record(
    session: AsyncSession,
    shop_id: int,
    actor: str,
    action: str,
    resource: str,
    resource_id: str,
    *,
    origin: Origin = Origin(),  # noqa: B008  it cannot change
    details: Mapping[str, Any] | None = None,
) -> None:
    """Insert an entry: `actor` did `action` to the resource. Call it in the transaction of the change itself."""
    await session.execute(
        insert(AuditLog).values(
            shop_id=shop_id,
            actor=actor,
            action=action,
            resource=resource,
            resource_id=resource_id,
            details=dict(details or {}),
            ip=origin.ip,
            user_agent=origin.user_agent,
        )
    )
