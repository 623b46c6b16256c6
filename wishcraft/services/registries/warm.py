"""Puts a shop's registries in Redis before anybody asks for them."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from wishcraft.cache.scripts import Outcome
from wishcraft.domain.batches import batches
from wishcraft.domain.cached_registry import CachedRegistry
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Checkpoint, no_checkpoint
from wishcraft.services.registries.reader import load_documents
from wishcraft.store import registries
from wishcraft.store.registries import CurrentVersion
from wishcraft.store.shops import ShopRef

BATCH: Final = 200
FRESH_FOR: Final = timedelta(minutes=45)
"""An entry that goes stale before the next run but one is renewed now: a run may be missed without readers noticing."""


async def warm_shop(
    resources: Resources, shop: ShopRef, *, force: bool = False, checkpoint: Checkpoint = no_checkpoint
) -> dict[str, int]:
    """Fill Redis with the shop's active registries, most viewed first, within its quota.

    Entries that are current and fresh are left alone unless `force`; their rows are not even read.

    Returns:
        Counts: `registries` looked at, of them `current`, `warmed`, and `skipped` because a reader or a writer
        was busy with them.

    Raises:
        CacheUnavailable: Redis is away.
        RunStopped: The checkpoint said so; the batches before it stand.
    """
    await resources.cache.ready_to_fill()
    async with resources.db.repeatable_read() as session:
        known = await registries.find_active_versions(session, shop.id, shop.settings.cache_quota_entries)
    counts = Counter(current=0, warmed=0, skipped=0)
    under_way: asyncio.Task[Counter[str]] | None = None
    try:
        for batch in batches(known, BATCH):
            await checkpoint(counts.total(), len(known))
            # PostgreSQL makes the next batch's answers while this process hands the last one's to Redis.
            last, under_way = under_way, asyncio.create_task(_warm_batch(resources, shop.id, batch, force=force))
            counts.update(await last if last else {})
    finally:  # also when the run is to stop: no batch is left half-done
        counts.update(await under_way if under_way else {})
    return {"registries": len(known), **counts}


async def _warm_batch(
    resources: Resources, shop_id: int, batch: Sequence[CurrentVersion], *, force: bool
) -> Counter[str]:
    due = [each.slug for each in batch] if force else await find_due(resources, shop_id, batch)
    warmed = await refill(resources, shop_id, due)
    return Counter(current=len(batch) - len(due), warmed=warmed, skipped=len(due) - warmed)


async def refill(resources: Resources, shop_id: int, slugs: Sequence[str]) -> int:
    """Load these registries' answers and fill Redis with them; how many it took.

    It takes none whose lease a reader holds (that reader fills it) and none that a writer is about to change.
    """

    async def load(wanted: Sequence[str]) -> Mapping[str, CachedRegistry]:
        return await load_documents(resources.db, shop_id, wanted)

    return (await resources.cache.refill(shop_id, load, slugs))[Outcome.FILLED]


async def find_due(resources: Resources, shop_id: int, batch: Sequence[CurrentVersion]) -> list[str]:
    """The slugs of these registries whose entries are missing, behind, or stale too soon."""
    headers = await resources.cache.headers(shop_id, [each.slug for each in batch])
    fresh_until_ms = 1000 * (datetime.now(UTC) + FRESH_FOR).timestamp()
    return [
        each.slug
        for each in batch
        if (header := headers.get(each.slug)) is None
        or header.version < each.version
        or header.soft_expiry_ms < fresh_until_ms
    ]
