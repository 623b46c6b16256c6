"""Deletes what the tables have of a shop, in batches. Its registries are deleted by `registry_write`."""

from datetime import datetime
from typing import Final

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema import Registry, Shop
from wishcraft.store.schema.access import ShopStatus
from wishcraft.store.schema.history import IS_COMPLIANCE

TABLES: Final = (
    "purchases", "unmatched_lines", "orders", "inventory_levels", "idempotency_keys", "sessions", "counted_invitations",
    "merged_customers", "email_suppressions", "api_keys", "audit_logs",
)  # fmt: skip
"""What a shop has besides registries. Entries of the audit log about compliance stay, without the shop."""
_DELETE: Final = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {table} WHERE shop_id = :shop_id AND {condition} LIMIT :most
)) RETURNING 1
"""


async def end_installation(session: AsyncSession, shop_id: int) -> None:
    """Let the shop count as one that has not installed the app, and destroy its tokens."""
    tokens = dict.fromkeys(("access_token_encrypted", "refresh_token_encrypted", "token_expires_at"))
    await session.execute(update(Shop).where(Shop.id == shop_id).values(status=ShopStatus.UNINSTALLED, **tokens))


async def find_registries(session: AsyncSession, shop_id: int, most: int) -> list[int]:
    """The ids of up to so many of its registries."""
    return list(await session.scalars(select(Registry.id).where(Registry.shop_id == shop_id).limit(most)))


async def delete_rows(session: AsyncSession, table: str, shop_id: int, most: int) -> int:
    """Delete up to so many of its rows from one of `TABLES`; their number."""
    condition = f"NOT ({IS_COMPLIANCE})" if table == "audit_logs" else "true"
    statement = text(_DELETE.format(table=table, condition=condition))
    return len((await session.execute(statement, {"shop_id": shop_id, "most": most})).all())


async def delete_shop(session: AsyncSession, shop_id: int) -> None:
    """Delete the shop's row, with the little that was added since the rest was deleted."""
    await session.execute(delete(Shop).where(Shop.id == shop_id))


async def is_later_installation(session: AsyncSession, shop_id: int, since: datetime) -> bool:
    """Whether the app is installed in the shop, and was so after this moment."""
    query = select(Shop.id).where(Shop.id == shop_id, Shop.status == ShopStatus.ACTIVE, Shop.installed_at > since)
    return (await session.execute(query)).one_or_none() is not None


async def is_added_since(session: AsyncSession, shop_id: int, moment: datetime) -> bool:
    """Whether the shop was added after this moment."""
    query = select(Shop.id).where(Shop.id == shop_id, Shop.created_at > moment)
    return (await session.execute(query)).one_or_none() is not None
