"""Queries about registry views, each scoped to one shop. None returns a title, which may contain names of people."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


class MostViewed(NamedTuple):
    """Views of a registry; the slug only if it is public."""

    id: int
    slug: str | None
    views: int


class UnviewedRegistries(NamedTuple):
    """Numbers of active registries and of those without views, and slugs of some public ones without views."""

    active: int
    unviewed: int
    slugs: list[str]


_MOST_VIEWED: Final = text("""
SELECT r.id, CASE WHEN r.visibility = 'public' THEN r.slug END, sum(v.views)::bigint AS views
FROM registry_views v JOIN registries r ON r.shop_id = v.shop_id AND r.id = v.registry_id
WHERE v.shop_id = :shop_id AND v.day > current_date - :days
GROUP BY r.id ORDER BY views DESC, r.id LIMIT :limit
""")
_UNVIEWED: Final = text("""
WITH active AS (
    SELECT id, slug, visibility,
        created_at < now() - :days * interval '1 day' AND NOT EXISTS (
            SELECT FROM registry_views v
            WHERE v.shop_id = r.shop_id AND v.registry_id = r.id AND v.day > current_date - :days
        ) AS unviewed
    FROM registries r WHERE shop_id = :shop_id AND status = 'active'
)
SELECT count(*), count(*) FILTER (WHERE unviewed),
    ARRAY(SELECT slug FROM active WHERE unviewed AND visibility = 'public' ORDER BY id DESC LIMIT :limit)
FROM active
""")
_COUNT_VIEWED: Final = text("""
SELECT count(*) FROM registries r
WHERE r.shop_id = :shop_id AND r.slug = ANY(:slugs) AND EXISTS (
    SELECT FROM registry_views v
    WHERE v.shop_id = r.shop_id AND v.registry_id = r.id AND v.day > current_date - :days
)
""")


async def find_most_viewed(session: AsyncSession, shop_id: int, days: int, limit: int) -> list[MostViewed]:
    """The shop's most viewed registries of the last `days` days, most viewed first."""
    rows = await session.execute(_MOST_VIEWED, {"shop_id": shop_id, "days": days, "limit": limit})
    return [MostViewed._make(row) for row in rows]


async def find_unviewed(session: AsyncSession, shop_id: int, days: int, limit: int) -> UnviewedRegistries:
    """The shop's active registries that are older than `days` days and had no view in that time."""
    rows = await session.execute(_UNVIEWED, {"shop_id": shop_id, "days": days, "limit": limit})
    return UnviewedRegistries._make(rows.one())


async def count_viewed(session: AsyncSession, shop_id: int, slugs: Sequence[str], days: int) -> int:
    """Number of these registries with views in the last `days` days."""
    parameters = {"shop_id": shop_id, "slugs": list(slugs), "days": days}
    return int((await session.execute(_COUNT_VIEWED, parameters)).scalar_one())
