"""Queries on pending invalidations: committed changes that Redis could not be informed of.

A row has no foreign key: it outlives its registry and its shop, whose cache entries may still be in Redis.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_RECORD: Final = text("""
INSERT INTO pending_invalidations AS p (shop_id, slug, version)
SELECT :shop_id, slug, version FROM unnest(CAST(:slugs AS text[]), CAST(:versions AS bigint[])) AS w (slug, version)
ON CONFLICT (shop_id, slug) DO UPDATE SET version = greatest(p.version, excluded.version)
""")
_LOCK_BATCH: Final = text("""
SELECT shop_id, slug, version FROM pending_invalidations
ORDER BY shop_id, slug LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_DELETE: Final = text(
    "DELETE FROM pending_invalidations WHERE shop_id = :shop_id AND slug = ANY(CAST(:slugs AS text[]))"
)
_FIND: Final = text("""
SELECT slug FROM pending_invalidations WHERE shop_id = :shop_id AND since <= now() - CAST(:older AS interval)
""")


async def record(session: AsyncSession, shop_id: int, versions: Mapping[str, int]) -> None:
    """Store that Redis is yet to be informed of these versions, by slug."""
    parameters = {"shop_id": shop_id, "slugs": list(versions), "versions": list(versions.values())}
    await session.execute(_RECORD, parameters)


async def lock_batch(session: AsyncSession, limit: int) -> dict[int, dict[str, int]]:
    """Lock up to `limit` rows; their versions by shop and slug. Rows that another transaction holds are skipped."""
    batch: dict[int, dict[str, int]] = {}
    for shop_id, slug, version in await session.execute(_LOCK_BATCH, {"limit": limit}):
        batch.setdefault(shop_id, {})[slug] = version
    return batch


async def delete(session: AsyncSession, shop_id: int, slugs: list[str]) -> None:
    """Delete the rows of these slugs, which the caller has locked and informed Redis of."""
    await session.execute(_DELETE, {"shop_id": shop_id, "slugs": slugs})


async def find_slugs(session: AsyncSession, shop_id: int, older: timedelta = timedelta(0)) -> list[str]:
    """The slugs of the shop's invalidations that have been pending for at least `older`."""
    return list(await session.scalars(_FIND, {"shop_id": shop_id, "older": older}))
