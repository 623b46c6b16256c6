"""Queries about addresses that a shop must not write to; they are known by their hashes alone."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema.mail import SuppressionReason

# A person's wish outlives a bounce: an address that works again is still not to be written to.
_SUPPRESS: Final = text(
    """
    INSERT INTO email_suppressions (shop_id, address_hash, reason)
    SELECT id, :address_hash, :reason FROM shops WHERE id = :shop_id
    ON CONFLICT (shop_id, address_hash) DO UPDATE SET reason = excluded.reason, since = now()
    WHERE email_suppressions.reason = 'bounce' AND excluded.reason <> 'bounce'
    """
)


async def suppress(session: AsyncSession, shop_id: int, address_hash: bytes, reason: SuppressionReason) -> None:
    """Let the shop write to the address no more. Doing it again changes nothing; nor does a shop that is gone."""
    await session.execute(_SUPPRESS, {"shop_id": shop_id, "address_hash": address_hash, "reason": reason})
