"""Queries about suppressed e-mail addresses; only their hashes are stored."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import exists, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.mail_suppressions import REASONS_BY_STRENGTH, SuppressionReason
from wishcraft.store import locks
from wishcraft.store.schema import AuditLog, EmailSuppression, Invitation, Registry


def hash_sql(shop_id: str, recipient: str) -> str:
    """SQL of `domain.addresses.address_hash` for these SQL expressions."""
    return f"sha256(convert_to({shop_id} || ':' || {recipient}, 'UTF8'))"


_LIFTING: Final = ("mail.suppression_lifted", "mail.resubscribed")
"""The actions of the audit log that are recorded with each lift."""


def lifted_sql(shop_id: str, recipient: str, at: str) -> str:
    """SQL of `was_lifted_since` for these SQL expressions, of a recipient instead of a hash."""
    return f"""EXISTS (
        SELECT FROM audit_logs WHERE audit_logs.shop_id = {shop_id} AND resource = 'address'
            AND resource_id = encode({hash_sql(shop_id, recipient)}, 'hex') AND created_at >= {at}
            AND action IN {_LIFTING})"""


_REASONS: Final = f"ARRAY{[reason.value for reason in REASONS_BY_STRENGTH]}"
_IS_STRONGER: Final = f"""
    array_position({_REASONS}, excluded.reason) > array_position({_REASONS}, email_suppressions.reason)
"""
_SUPPRESS: Final = text(
    f"""
    INSERT INTO email_suppressions (shop_id, address_hash, reason)
    SELECT id, :address_hash, :reason FROM shops WHERE id = :shop_id
    ON CONFLICT (shop_id, address_hash) DO UPDATE SET reason = excluded.reason, since = now()
    WHERE {_IS_STRONGER}
    RETURNING true
    """  # noqa: S608  ours
)


_LIFT: Final = text(
    """
    DELETE FROM email_suppressions
    WHERE shop_id = :shop_id AND address_hash = ANY(:hashes) AND reason = ANY(:reasons) RETURNING address_hash, reason
    """
)
_HASH: Final = hash_sql("invitations.shop_id", "invitations.recipient")
_INVITE_AGAIN: Final = f"""
    UPDATE invitations SET state = 'pending', attempts = 0, last_error = NULL, outcome = NULL, outcome_at = NULL,
        expires_at = NULL, updated_at = now()
    WHERE shop_id = :shop_id AND state = 'suppressed' AND answer IS NULL AND removed_at IS NULL
        AND (expires_at IS NULL OR expires_at > now())
        AND NOT EXISTS (
            SELECT FROM email_suppressions x WHERE x.shop_id = invitations.shop_id AND x.address_hash = {_HASH})
"""  # noqa: S608  ours
_INVITE_LIFTED: Final = text(f"{_INVITE_AGAIN} AND {_HASH} = ANY(:hashes)")
_INVITE_NAMED: Final = text(f"{_INVITE_AGAIN} AND registry_id = :registry_id")
_IMPORT: Final = text(
    f"""
    INSERT INTO email_suppressions (shop_id, address_hash, reason)
    SELECT :shop_id, address_hash, reason
    FROM unnest(CAST(:hashes AS bytea[]), CAST(:reasons AS text[])) AS n (address_hash, reason) ORDER BY 1
    ON CONFLICT (shop_id, address_hash) DO UPDATE SET reason = excluded.reason, since = now()
    WHERE {_IS_STRONGER}
    RETURNING xmax = 0
    """  # noqa: S608  ours
)


class Suppression(NamedTuple):
    """An address that the shop must not write to."""

    address_hash: bytes
    reason: SuppressionReason
    since: datetime


async def find_all(session: AsyncSession, shop_id: int, reason: SuppressionReason | None) -> list[Suppression]:
    """The shop's suppressions, of one reason or all, the newest first."""
    columns = (EmailSuppression.address_hash, EmailSuppression.reason, EmailSuppression.since)
    query = select(*columns).where(EmailSuppression.shop_id == shop_id)
    if reason is not None:
        query = query.where(EmailSuppression.reason == reason)
    rows = await session.execute(query.order_by(EmailSuppression.since.desc(), EmailSuppression.address_hash))
    return [Suppression._make(row) for row in rows]


async def was_lifted_since(session: AsyncSession, shop_id: int, address_hash: bytes, at: datetime) -> bool:
    """Whether the suppression of the address was lifted at that time or later, as far as the audit log reaches."""
    found = exists().where(
        AuditLog.shop_id == shop_id,
        AuditLog.resource == "address",
        AuditLog.resource_id == address_hash.hex(),
        AuditLog.created_at >= at,
        AuditLog.action.in_(_LIFTING),
    )
    return bool(await session.scalar(select(found)))


async def find_recipients(session: AsyncSession, shop_id: int, registry_id: int) -> list[str] | None:
    """The addresses that get the registry's mail; None if the shop has no such registry."""
    registry = select(Registry.id).where(Registry.shop_id == shop_id, Registry.id == registry_id)
    if (await session.execute(registry)).one_or_none() is None:
        return None
    query = select(Invitation.recipient).where(
        Invitation.shop_id == shop_id, Invitation.registry_id == registry_id, Invitation.removed_at.is_(None)
    )
    return list(await session.scalars(query))


async def serialise_claims(session: AsyncSession, shop_id: int) -> None:
    """Let other transactions that call this for the shop wait for the end of this one.

    So each claim of invitations counts those before exactly, and a lift misses none that a claim finds suppressed.
    """
    await locks.serialise(session, f"invite:{shop_id}")


async def lift(
    session: AsyncSession,
    shop_id: int,
    hashes: Sequence[bytes],
    reasons: Collection[SuppressionReason] = tuple(SuppressionReason),
) -> dict[bytes, SuppressionReason]:
    """End the suppression of these addresses, if it has one of these reasons.

    Their invitations wait to be sent again, as new ones, unless they have expired. It waits for claims of the shop; a
    caller that has locked an invitation has called `serialise_claims` before, or the two could wait for each other.

    Returns:
        The reason of each that was suppressed.
    """
    values = {"shop_id": shop_id, "hashes": list(hashes), "reasons": [each.value for each in reasons]}
    await serialise_claims(session, shop_id)
    rows = await session.execute(_LIFT, values)
    lifted = {row.address_hash: SuppressionReason(row.reason) for row in rows}
    if lifted:
        await session.execute(_INVITE_LIFTED, {"shop_id": shop_id, "hashes": list(lifted)})
    return lifted


async def invite_again(session: AsyncSession, shop_id: int, registry_id: int) -> None:
    """Let the registry's invitations that were not sent for a suppression wait again, as `lift`, once it has ended."""
    await session.execute(_INVITE_NAMED, {"shop_id": shop_id, "registry_id": registry_id})


async def add_all(session: AsyncSession, shop_id: int, reasons: Mapping[bytes, SuppressionReason]) -> int:
    """Suppress these addresses, as `suppress`; how many were not suppressed before."""
    values = {"shop_id": shop_id, "hashes": list(reasons), "reasons": [each.value for each in reasons.values()]}
    return sum(is_new for (is_new,) in await session.execute(_IMPORT, values))


async def find_reason(session: AsyncSession, shop_id: int, address_hash: bytes) -> SuppressionReason | None:
    """Why the address is suppressed for the shop; None if it is not."""
    found = await session.get(EmailSuppression, (shop_id, address_hash))
    return found.reason if found else None


async def suppress(session: AsyncSession, shop_id: int, address_hash: bytes, reason: SuppressionReason) -> bool:
    """Suppress the address for the shop, or replace the weaker reason for which it is; whether that changed anything.

    Does nothing if the shop does not exist.
    """
    values = {"shop_id": shop_id, "address_hash": address_hash, "reason": reason}
    return bool((await session.execute(_SUPPRESS, values)).scalar())
