"""Queries that insert analytics events and daily view counts."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.analytics_events import AnalyticsType


class Event(NamedTuple):
    """An analytics event that is to be stored."""

    shop_id: int
    slug: str
    type: AnalyticsType
    occurred_at: datetime
    visitor_id: str
    item_id: int | None


# Skips events whose registry is gone, or whose item is not in that registry. The lock waits for a deletion that is
# under way, and then skips the registry: its foreign key would refuse all rows of the statement. The locks are taken in
# the order of the ids, as `registries.lock` does: neither waits for the other in a circle.
_ADD_EVENTS: Final = text("""
INSERT INTO analytics_events (shop_id, registry_id, type, occurred_at, visitor_id, data)
SELECT r.shop_id, r.id, e.type, e.occurred_at, e.visitor_id,
    CASE WHEN i.id IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('item_id', i.id, 'variant_id', i.variant_id) END
FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS e (
    shop_id bigint, slug text, type text, occurred_at timestamptz, visitor_id text, item_id bigint
)
JOIN registries r ON r.shop_id = e.shop_id AND r.slug = e.slug
LEFT JOIN registry_items i ON i.shop_id = r.shop_id AND i.registry_id = r.id AND i.id = e.item_id
WHERE e.item_id IS NULL OR i.id IS NOT NULL
ORDER BY r.id FOR KEY SHARE OF r
""")


# Ordered by id, so that two processes that count the same registries cannot deadlock. Locked as in `_ADD_EVENTS`.
_ADD_VIEWS: Final = text("""
INSERT INTO registry_views (shop_id, registry_id, day, views)
SELECT r.shop_id, r.id, current_date, v.views
FROM jsonb_to_recordset(CAST(:views AS jsonb)) AS v (shop_id bigint, slug text, views bigint)
JOIN registries r ON r.shop_id = v.shop_id AND r.slug = v.slug
ORDER BY r.id FOR KEY SHARE OF r
ON CONFLICT (shop_id, registry_id, day) DO UPDATE SET views = registry_views.views + excluded.views
""")


async def add_events(session: AsyncSession, events: Sequence[Event]) -> None:
    """Insert the events; skips those without a registry in their shop."""
    rows = [event._asdict() for event in events]
    await session.execute(_ADD_EVENTS, {"events": orjson.dumps(rows).decode()})


async def add_views(session: AsyncSession, views: Mapping[int, Mapping[str, int]]) -> None:
    """Add to today's views, by shop id and slug; skips unknown slugs."""
    rows = [
        {"shop_id": shop_id, "slug": slug, "views": count}
        for shop_id, slugs in views.items()
        for slug, count in slugs.items()
    ]
    await session.execute(_ADD_VIEWS, {"views": orjson.dumps(rows).decode()})
