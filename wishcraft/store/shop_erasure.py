"""Deletes what the tables have of a shop, in batches. Its registries are deleted by `registry_write`."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import and_, delete, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema import Registry, Shop
from wishcraft.store.schema.history import IS_COMPLIANCE
from wishcraft.store.schema.shops import ShopStatus

TABLES: Final = (
    "purchases", "unmatched_lines", "orders", "inventory_levels", "inventory_items", "product_versions",
    "idempotency_keys", "sessions", "counted_invitations", "deleted_mails", "merged_customers", "email_suppressions",
    "api_keys", "audit_logs", "analytics_events", "registry_views",
)  # fmt: skip
"""Tables with a shop's rows besides registries, and those with most rows of registries.

Entries of the audit log about compliance stay, without the shop.
"""
_DELETE: Final = """
DELETE FROM {table} WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM {table} WHERE shop_id = :shop_id AND {condition} LIMIT :most
)) RETURNING 1
"""


class InstallationState(NamedTuple):
    """State of a shop's installation."""

    is_active: bool
    installed_at: datetime
    uninstalled_at: datetime | None


async def find_installation(session: AsyncSession, shop_id: int) -> InstallationState | None:
    """State of the shop's installation; None if there is no such shop."""
    query = select(Shop.status, Shop.installed_at, Shop.uninstalled_at).where(Shop.id == shop_id)
    row = (await session.execute(query)).one_or_none()
    return InstallationState(row.status is ShopStatus.ACTIVE, row.installed_at, row.uninstalled_at) if row else None


async def end_installation(session: AsyncSession, shop_id: int, installed_at: datetime) -> None:
    """Let the shop count as one that has not installed the app, and destroy its tokens; unless it did after that."""
    tokens = dict.fromkeys(("access_token_encrypted", "refresh_token_encrypted", "token_expires_at"))
    where = (Shop.id == shop_id, Shop.installed_at <= installed_at)
    await session.execute(update(Shop).where(*where).values(status=ShopStatus.UNINSTALLED, **tokens))


async def keep_uninstalled(session: AsyncSession, shop_id: int, *, alone: bool = False) -> bool:
    """Let installations of the app in the shop wait for the end of the transaction; False if it is installed.

    With `alone`, all that adds rows of the shop waits, too, or has committed them before.
    """
    query = select(Shop.id).where(Shop.id == shop_id, Shop.status == ShopStatus.UNINSTALLED)
    return (await session.execute(query.with_for_update(read=not alone))).scalar() is not None


async def find_registries(session: AsyncSession, shop_id: int, most: int | None = None) -> list[int]:
    """The ids of up to `most` registries of the shop, or of all."""
    return list(await session.scalars(select(Registry.id).where(Registry.shop_id == shop_id).limit(most)))


async def delete_rows(session: AsyncSession, table: str, shop_id: int, most: int) -> int:
    """Delete up to `most` rows of the shop from one of `TABLES`; their number."""
    condition = f"NOT ({IS_COMPLIANCE})" if table == "audit_logs" else "true"
    statement = text(_DELETE.format(table=table, condition=condition))
    return len((await session.execute(statement, {"shop_id": shop_id, "most": most})).all())


async def delete_shop(session: AsyncSession, shop_id: int) -> None:
    """Delete the shop's row, with the little that was added since the rest was deleted. It has no registries now."""
    await session.execute(delete(Shop).where(Shop.id == shop_id))


async def was_reinstalled(session: AsyncSession, shop_id: int, moment: datetime) -> bool:
    """Whether the shop was added after this moment, or has the app, and installed it after this moment."""
    has_installed = and_(Shop.status == ShopStatus.ACTIVE, Shop.installed_at > moment)
    query = select(Shop.id).where(Shop.id == shop_id, or_(Shop.created_at > moment, has_installed))
    return (await session.execute(query)).one_or_none() is not None
