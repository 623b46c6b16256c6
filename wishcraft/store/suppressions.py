"""Queries about suppressed e-mail addresses; only their hashes are stored."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.mail_events import SuppressionReason
from wishcraft.store.schema import EmailSuppression, Invitation

# An unsubscription replaces nothing, because it can be undone, and mail to a dead address would start again.
_SUPPRESS: Final = text(
    """
    INSERT INTO email_suppressions (shop_id, address_hash, reason)
    SELECT id, :address_hash, :reason FROM shops WHERE id = :shop_id
    ON CONFLICT (shop_id, address_hash) DO UPDATE SET reason = excluded.reason, since = now()
    WHERE excluded.reason = 'complaint' AND email_suppressions.reason <> 'complaint'
    RETURNING true
    """
)


_LIFT: Final = text(
    """
    DELETE FROM email_suppressions
    WHERE shop_id = :shop_id AND address_hash = :address_hash AND reason = 'unsubscribe' RETURNING true
    """
)


_LIFT_ALL: Final = text(
    """
    DELETE FROM email_suppressions WHERE shop_id = :shop_id AND address_hash = ANY(:hashes)
    RETURNING address_hash, reason
    """
)
_IMPORT: Final = text(
    """
    INSERT INTO email_suppressions (shop_id, address_hash, reason)
    SELECT :shop_id, address_hash, reason
    FROM unnest(CAST(:hashes AS bytea[]), CAST(:reasons AS text[])) AS n (address_hash, reason) ORDER BY 1
    ON CONFLICT DO NOTHING RETURNING true
    """
)


class Suppression(NamedTuple):
    """An address that the shop must not write to."""

    address_hash: bytes
    reason: SuppressionReason
    since: datetime


async def find_all(session: AsyncSession, shop_id: int, reason: SuppressionReason | None = None) -> list[Suppression]:
    """The shop's suppressions, of one reason or all, the newest first."""
    columns = (EmailSuppression.address_hash, EmailSuppression.reason, EmailSuppression.since)
    query = select(*columns).where(EmailSuppression.shop_id == shop_id)
    if reason is not None:
        query = query.where(EmailSuppression.reason == reason)
    rows = await session.execute(query.order_by(EmailSuppression.since.desc(), EmailSuppression.address_hash))
    return [Suppression._make(row) for row in rows]


async def find_recipients(session: AsyncSession, shop_id: int, registry_id: int) -> list[str]:
    """The addresses that get the registry's mail."""
    query = select(Invitation.recipient).where(
        Invitation.shop_id == shop_id, Invitation.registry_id == registry_id, Invitation.removed_at.is_(None)
    )
    return list(await session.scalars(query))


async def lift_all(session: AsyncSession, shop_id: int, hashes: Sequence[bytes]) -> dict[bytes, SuppressionReason]:
    """End the suppression of these addresses, whatever its reason; those that were suppressed, with the reason."""
    rows = await session.execute(_LIFT_ALL, {"shop_id": shop_id, "hashes": list(hashes)})
    return {row.address_hash: SuppressionReason(row.reason) for row in rows}


async def add_all(session: AsyncSession, shop_id: int, reasons: Mapping[bytes, SuppressionReason]) -> int:
    """Suppress these addresses, unless they are already; how many were not."""
    values = {"shop_id": shop_id, "hashes": list(reasons), "reasons": [each.value for each in reasons.values()]}
    return len((await session.execute(_IMPORT, values)).all())


async def find_reason(session: AsyncSession, shop_id: int, address_hash: bytes) -> SuppressionReason | None:
    """Why the address is suppressed for the shop; None if it is not."""
    found = await session.get(EmailSuppression, (shop_id, address_hash))
    return found.reason if found else None


async def lift(session: AsyncSession, shop_id: int, address_hash: bytes) -> bool:
    """Undo an unsubscription; whether there was one. A bounce or a complaint stays."""
    return bool((await session.execute(_LIFT, {"shop_id": shop_id, "address_hash": address_hash})).scalar())


async def suppress(session: AsyncSession, shop_id: int, address_hash: bytes, reason: SuppressionReason) -> bool:
    """Suppress the address for the shop; whether that changed anything. Does nothing if the shop does not exist.

    A complaint replaces any other reason; a bounce and an unsubscription leave the reason that there is.
    """
    values = {"shop_id": shop_id, "address_hash": address_hash, "reason": reason}
    return bool((await session.execute(_SUPPRESS, values)).scalar())
