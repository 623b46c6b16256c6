"""Queries about suppressed e-mail addresses; only their hashes are stored."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.mail_events import SuppressionReason
from wishcraft.store.schema import EmailSuppression

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
