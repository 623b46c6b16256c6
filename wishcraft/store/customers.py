"""Queries about Shopify's customers: which were merged, and what names them by their ids; each scoped to one shop."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.schema import MergedCustomer


async def find_merged(session: AsyncSession, shop_id: int, kept: Sequence[int]) -> set[int]:
    """The ids that were merged into these customers."""
    query = select(MergedCustomer.deleted_id).where(MergedCustomer.shop_id == shop_id, MergedCustomer.kept_id.in_(kept))
    return set(await session.scalars(query))
