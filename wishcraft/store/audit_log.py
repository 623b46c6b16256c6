"""The audit log: who did what to which resource, and from where."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from sqlalchemy import bindparam, exists, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.invitations import InvitationAnswer
from wishcraft.store.schema import AuditLog
from wishcraft.store.statements import Call, Statement

_ANSWERS: Final = [f"invitation.{answer}" for answer in InvitationAnswer]
FilterName = Literal["actor", "action", "resource"]
"""A column of the audit log whose values a person chooses from."""


class Origin(NamedTuple):
    """IP address and user agent of a request."""

    ip: str | None = None
    user_agent: str | None = None


class Actor(NamedTuple):
    """The actor in a shop: a caller's name (`key:…`, `customer:…`, `admin:…`) or a job's, and the request's origin."""

    shop_id: int
    name: str
    origin: Origin = Origin()
    customer_id: int | None = None
    """The customer for whom a server or an administrator acts."""


class AuditFilter(NamedTuple):
    """Which entries are wanted: those that have all the values that are not None."""

    actor: str | None = None
    action: str | None = None
    resource: str | None = None
    resource_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is not wanted."""


class AuditEntry(NamedTuple):
    """An entry of the audit log."""

    id: int
    created_at: datetime
    actor: str
    action: str
    resource: str
    resource_id: str
    details: dict[str, Any]
    ip: str | None
    user_agent: str | None


_ENTRIES: Final = select(
    AuditLog.id, AuditLog.created_at, AuditLog.actor, AuditLog.action, AuditLog.resource, AuditLog.resource_id,
    AuditLog.details, func.host(AuditLog.ip), AuditLog.user_agent,
).order_by(AuditLog.created_at.desc(), AuditLog.id.desc())  # fmt: skip
"""The columns of `AuditEntry`, newest first."""

_RECORD: Final = Statement(
    insert(AuditLog).values(
        {
            name: bindparam(name)
            for name in ("shop_id", "actor", "action", "resource", "resource_id", "details", "ip", "user_agent")
        }
    )
)


async def find_entries(
    session: AsyncSession,
    shop_id: int,
    wanted: AuditFilter,
    limit: int,
    before: tuple[datetime, int] | None = None,
) -> list[AuditEntry]:
    """The shop's entries, newest first, `limit` at most; only those before the entry of this time and id."""
    query = _ENTRIES.where(AuditLog.shop_id == shop_id).limit(limit)
    for name in ("actor", "action", "resource", "resource_id"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(AuditLog, name) == value)
    if wanted.since:
        query = query.where(AuditLog.created_at >= wanted.since)
    if wanted.until:
        query = query.where(AuditLog.created_at < wanted.until)
    if before:
        query = query.where(tuple_(AuditLog.created_at, AuditLog.id) < before)
    return [AuditEntry._make(row) for row in await session.execute(query)]


async def has_value(session: AsyncSession, shop_id: int, name: FilterName, value: str) -> bool:
    """Whether an entry of the shop, of any time, has this value."""
    found = exists().where(AuditLog.shop_id == shop_id, getattr(AuditLog, name) == value)
    return bool(await session.scalar(select(found)))


async def find_values(session: AsyncSession, shop_id: int, name: FilterName, limit: int) -> list[str]:
    """The first values of this column in the shop's entries of any time, in order, `limit` at most.

    Of actors only the kinds, such as `key` of `key:0123456789ab`: a shop may have any number of actors.
    """
    column = getattr(AuditLog, name)
    value = func.split_part(column, ":", 1) if name == "actor" else column
    query = select(value.label("value")).distinct().where(AuditLog.shop_id == shop_id).order_by("value").limit(limit)
    return list(await session.scalars(query))


def entry(actor: Actor, action: str, resource: str, resource_id: str, details: Mapping[str, Any] | None = None) -> Call:
    """The insertion of an audit log entry, for the transaction of the audited change."""
    return _RECORD(**_values(actor, action, resource, resource_id, details))


async def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    resource: str,
    resource_id: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Insert an audit log entry. Call it in the transaction of the audited change."""
    await session.execute(insert(AuditLog).values(**_values(actor, action, resource, resource_id, details)))


async def hide_answerers(session: AsyncSession, shop_id: int, registry_id: int) -> None:
    """Take IP addresses and browsers out of the answers to a registry's invitations, which are deleted.

    They alone say whose the answers are: a later erasure of these people would not find them.
    """
    where = (AuditLog.shop_id == shop_id, AuditLog.resource == "registry", AuditLog.resource_id == str(registry_id))
    statement = update(AuditLog).where(*where, AuditLog.action.in_(_ANSWERS))
    await session.execute(statement.values(ip=None, user_agent=None))


def _values(
    actor: Actor, action: str, resource: str, resource_id: str, details: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "shop_id": actor.shop_id,
        "actor": actor.name,
        "action": action,
        "resource": resource,
        "resource_id": resource_id,
        "details": dict(details or {}) | ({"customer": actor.customer_id} if actor.customer_id else {}),
        "ip": actor.origin.ip,
        "user_agent": actor.origin.user_agent,
    }
