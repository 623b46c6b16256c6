"""Queries that find violated invariants, each scoped to one shop."""

from datetime import timedelta
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.mail_references import MailKind
from wishcraft.store.outbox import TABLES
from wishcraft.store.registry_items import LIVE
from wishcraft.store.schema.mail import MailState

_FIND_MISCOUNTED: Final = text("""
SELECT i.registry_id, count(*)
FROM registry_items i LEFT JOIN (
    SELECT item_id, sum(quantity) AS quantity FROM purchases
    WHERE shop_id = :shop_id AND status = ANY(:live) GROUP BY item_id
) p ON p.item_id = i.id
WHERE i.shop_id = :shop_id AND i.quantity_purchased <> coalesce(p.quantity, 0)
GROUP BY i.registry_id ORDER BY i.registry_id
""")
_IS_UNSYNCED: Final = text("""
SELECT s.synced_at < now() - CAST(:older AS interval) AND EXISTS (
    SELECT FROM registry_items i JOIN registries r ON r.id = i.registry_id AND r.status = 'active'
    WHERE i.shop_id = s.id
)
FROM shops s WHERE s.id = :shop_id
""")


async def find_miscounted(session: AsyncSession, shop_id: int) -> dict[int, int]:
    """Number of items whose `quantity_purchased` differs from their live purchases, by registry id, ascending."""
    rows = await session.execute(_FIND_MISCOUNTED, {"shop_id": shop_id, "live": LIVE})
    return {registry_id: items for registry_id, items in rows}  # noqa: C416  rows are not pairs to mypy


async def count_stuck_mails(session: AsyncSession, kind: MailKind, shop_id: int, older: timedelta) -> int:
    """Number of mails of this kind that have been `sending` for longer than `older`."""
    table = TABLES[kind]
    query = select(func.count()).where(
        table.shop_id == shop_id, table.state == MailState.SENDING, table.updated_at < func.now() - older
    )
    return (await session.execute(query)).scalar_one()


async def is_unsynced(session: AsyncSession, shop_id: int, older: timedelta) -> bool:
    """Whether the shop has items to sync and its last finished sync is older than `older`."""
    return bool((await session.execute(_IS_UNSYNCED, {"shop_id": shop_id, "older": older})).scalar_one_or_none())
