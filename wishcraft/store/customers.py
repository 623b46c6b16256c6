"""Queries about Shopify's customers: which were merged, and what names them by their ids; each scoped to one shop."""

from collections.abc import Collection
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store import locks
from wishcraft.store.schema import MergedCustomer, Registry

_KEEP: Final = (
    text("""
        UPDATE merged_customers SET kept_id = :kept WHERE shop_id = :shop_id AND kept_id = :deleted
    """),
    text("""
        INSERT INTO merged_customers (shop_id, deleted_id, kept_id) VALUES (:shop_id, :deleted, :kept)
        ON CONFLICT (shop_id, deleted_id) DO UPDATE SET kept_id = excluded.kept_id
    """),
    # Before the purchases: a line that a person makes one meanwhile is waited for here, and found there.
    *(
        # In the order of their ids, as orders and erasures lock them.
        text(f"""
            UPDATE {table} SET purchaser_id = :kept WHERE id IN (
                SELECT id FROM {table} WHERE shop_id = :shop_id AND purchaser_id = :deleted ORDER BY id FOR UPDATE
            )
        """)  # noqa: S608  constants alone
        for table in ("unmatched_lines", "purchases")
    ),
    text("UPDATE counted_invitations SET customer_id = :kept WHERE shop_id = :shop_id AND customer_id = :deleted"),
    # If the one who was kept has the key of the same caller, too, the newer one stays.
    text("""
        WITH found AS (
            DELETE FROM idempotency_keys
            WHERE shop_id = :shop_id AND split_part(caller, ':', -1) = CAST(CAST(:deleted AS bigint) AS text)
            RETURNING *
        )
        INSERT INTO idempotency_keys (shop_id, caller, key, request_hash, created, expires_at)
        SELECT shop_id, CASE split_part(caller, ':', 1)
            WHEN 'customer' THEN concat_ws(':', 'customer', shop_id, CAST(:kept AS bigint), CAST(:kept AS bigint))
            ELSE regexp_replace(caller, '[0-9]+$', CAST(CAST(:kept AS bigint) AS text))
        END, key, request_hash, created, expires_at FROM found
        ON CONFLICT (shop_id, caller, key) DO UPDATE
            SET request_hash = excluded.request_hash, created = excluded.created, expires_at = excluded.expires_at
            WHERE idempotency_keys.expires_at < excluded.expires_at
    """),
)


def lock_name(shop_id: int, customer_id: int) -> str:
    """The name in `locks` under which transactions write what names a customer by id."""
    return f"customer:{shop_id}:{customer_id}"


async def hold(session: AsyncSession, shop_id: int, ids: Collection[int]) -> None:
    """Let no merge of these customers into others be applied until the commit: it finds what is written about them.

    The transaction has locked its registries and orders before.
    """
    if ids:
        await locks.serialise(session, *(lock_name(shop_id, each) for each in ids))


async def hold_merges(session: AsyncSession, shop_id: int) -> None:
    """Let merges and erasures of the shop wait for the end of this one: both change many rows of the same customers.

    The transaction has locked its registries before.
    """
    await locks.serialise(session, f"merge:{shop_id}")


async def hold_for_merge(session: AsyncSession, shop_id: int, deleted: Collection[int]) -> None:
    """Wait for transactions that write about these customers, or those merged into them, and let others wait.

    As `hold_merges`, so which customers were merged into these is the same until the commit.
    """
    await hold_merges(session, shop_id)
    await hold(session, shop_id, {*deleted, *await find_merged(session, shop_id, deleted)})


async def find_merged(session: AsyncSession, shop_id: int, kept: Collection[int]) -> set[int]:
    """The ids that were merged into these customers."""
    query = select(MergedCustomer.deleted_id).where(MergedCustomer.shop_id == shop_id, MergedCustomer.kept_id.in_(kept))
    return set(await session.scalars(query))


async def find_kept(session: AsyncSession, shop_id: int, ids: Collection[int]) -> dict[int, int]:
    """The customers into whom some of these were merged, by the ids that are gone."""
    query = select(MergedCustomer.deleted_id, MergedCustomer.kept_id).where(
        MergedCustomer.shop_id == shop_id, MergedCustomer.deleted_id.in_(ids)
    )
    return {row.deleted_id: row.kept_id for row in await session.execute(query)}


async def find_registries(session: AsyncSession, shop_id: int, customers: Collection[int]) -> set[int]:
    """The ids of these customers' registries."""
    query = select(Registry.id).where(Registry.shop_id == shop_id, Registry.customer_id.in_(customers))
    return set(await session.scalars(query))


async def keep(session: AsyncSession, shop_id: int, deleted: int, kept: int) -> None:
    """Note that a customer was merged into another, who was not merged; what names the one by id names the other then.

    Registries are changed by their own writer.
    """
    for statement in _KEEP:
        await session.execute(statement, {"shop_id": shop_id, "deleted": deleted, "kept": kept})
