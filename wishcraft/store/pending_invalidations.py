"""Queries on pending invalidations: changes, committed or about to be, that Redis could not be informed of.

A row is written and deleted in a transaction of its own, so no lock on it lasts; that of a deletion is written just
before its commit. It has no foreign key: it outlives its registry and its shop, whose cache entries may still be in
Redis.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final, NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.store.statements import Call, Statement


class Announcement(NamedTuple):
    """A pending invalidation of one registry."""

    version: int
    token: str
    """Another one for each announcement."""
    grants: list[str] | None = None
    """The grants that ended with a registry whose deletion is committed; None of any other registry."""


_RECORD: Final = text("""
INSERT INTO pending_invalidations AS p (shop_id, slug, version)
SELECT :shop_id, slug, version FROM unnest(CAST(:slugs AS text[]), CAST(:versions AS bigint[])) AS w (slug, version)
ON CONFLICT (shop_id, slug) DO UPDATE SET version = greatest(p.version, excluded.version), grants = NULL
""")
_RECORD_DELETIONS: Final = text("""
INSERT INTO pending_invalidations AS p (shop_id, slug, version, grants)
SELECT :shop_id, d.* FROM jsonb_to_recordset(CAST(:deleted AS jsonb)) AS d (slug text, version bigint, grants text[])
ON CONFLICT (shop_id, slug) DO UPDATE SET version = greatest(p.version, excluded.version), grants = excluded.grants
RETURNING slug, version, pg_current_xact_id()::xid::text
""")
_FIND_BATCH: Final = text("""
SELECT shop_id, slug, version, xmin::text, grants FROM pending_invalidations
WHERE (shop_id, slug) > (:shop_id, CAST(:slug AS text)) ORDER BY shop_id, slug LIMIT :limit
""")
# Each announcement changes a row's xmin, also one of the same version, by a write that is tried again after it failed.
_DELETE: Final = text("""
WITH informed AS (
    SELECT p.slug FROM pending_invalidations p
    JOIN unnest(CAST(:slugs AS text[]), CAST(:tokens AS text[])) AS w (slug, token)
        ON w.slug = p.slug AND p.xmin::text = w.token
    WHERE p.shop_id = :shop_id
    FOR UPDATE OF p SKIP LOCKED
)
DELETE FROM pending_invalidations p USING informed i WHERE p.shop_id = :shop_id AND p.slug = i.slug
""")
_FIND_ALL: Final = Statement(text("SELECT shop_id, slug FROM pending_invalidations LIMIT :limit"))
_FIND: Final = text("""
SELECT slug FROM pending_invalidations WHERE shop_id = :shop_id AND since <= now() - CAST(:older AS interval)
""")


async def record(session: AsyncSession, shop_id: int, versions: Mapping[str, int]) -> None:
    """Store that Redis is yet to be informed of these versions, by slug."""
    parameters = {"shop_id": shop_id, "slugs": list(versions), "versions": list(versions.values())}
    await session.execute(_RECORD, parameters)


async def record_deletions(
    session: AsyncSession, shop_id: int, versions: Mapping[str, int], grants: Mapping[str, list[str]]
) -> dict[str, Announcement]:
    """Store that Redis is yet to forget registries. Call it in the deletion's own transaction, after `record`.

    It is seen after the commit only: a replay before it would also forget the floor, which protects the deletion.
    """
    deleted = [{"slug": slug, "version": version, "grants": grants[slug]} for slug, version in sorted(versions.items())]
    rows = await session.execute(_RECORD_DELETIONS, {"shop_id": shop_id, "deleted": orjson.dumps(deleted).decode()})
    return {slug: Announcement(version, token, grants[slug]) for slug, version, token in rows}


def find_all(limit: int) -> Call:
    """The shop ids and slugs of up to `limit` rows."""
    return _FIND_ALL(limit=limit)


async def find_batch(session: AsyncSession, after: tuple[int, str], limit: int) -> dict[int, dict[str, Announcement]]:
    """Up to `limit` rows beyond this shop id and slug, in their order: by shop and slug."""
    batch: dict[int, dict[str, Announcement]] = {}
    rows = await session.execute(_FIND_BATCH, {"shop_id": after[0], "slug": after[1], "limit": limit})
    for shop_id, slug, *announcement in rows:
        batch.setdefault(shop_id, {})[slug] = Announcement(*announcement)
    return batch


async def delete(session: AsyncSession, shop_id: int, replayed: Mapping[str, Announcement]) -> None:
    """Delete the rows of these announcements, except those announced again since or held by another transaction."""
    tokens = [announcement.token for announcement in replayed.values()]
    await session.execute(_DELETE, {"shop_id": shop_id, "slugs": list(replayed), "tokens": tokens})


async def find_slugs(session: AsyncSession, shop_id: int, older: timedelta) -> list[str]:
    """The slugs of the shop's invalidations that have been pending for at least `older`."""
    return list(await session.scalars(_FIND, {"shop_id": shop_id, "older": older}))
