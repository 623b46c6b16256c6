"""Cache warming: fills Redis with a shop's active registries before they are read."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from wishcraft.domain.batches import batches
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint, no_checkpoint
from wishcraft.services.registries.reader import refill
from wishcraft.store import registries
from wishcraft.store.registries import CurrentVersion
from wishcraft.store.shops import ShopRef

BATCH: Final = 50
"""With 200, PostgreSQL waits longer for the first one of a small shop; fewer cost more for each."""
_BATCHES_AT_ONCE: Final = 3
"""PostgreSQL composes batches while this process sends another one to Redis."""
FRESH_FOR: Final = timedelta(minutes=45)
"""An entry that becomes stale in the next run, half an hour later, or soon after it is renewed now.

The shortest soft lifetime, of registries near their events, is renewed in each run; the others are not.
"""


async def warm_shop(
    resources: Resources,
    shop: ShopRef,
    *,
    force: bool = False,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
    batch_size: int = BATCH,
) -> dict[str, int]:
    """Fill Redis with the shop's active registries, most viewed first, within its quota.

    Current and fresh entries are skipped unless `force`, without reading their rows.

    Returns:
        Counts: `registries` in all, of them `current`, `warmed`, and `skipped` because a reader holds the lease or a
        writer has raised the floor. `changes` gets those that were `warmed`. If the quota has no place for any, all
        are counted as `without_quota` instead, and none is loaded.

    Raises:
        CacheUnavailable: Redis does not answer.
        RunStopped: The checkpoint ends the run; earlier batches stay filled.
    """
    if not all(shop.settings.cache_quota):
        async with resources.db.repeatable_read() as session:
            active = await registries.count_active(session, shop.id)
        return {"registries": active, "current": 0, "warmed": 0, "skipped": 0, "without_quota": active}
    await resources.cache.ready_to_fill()
    async with resources.db.repeatable_read() as session:
        known = await registries.find_active_versions(session, shop.id, shop.settings.cache_quota_entries)
    counts = Counter(current=0, warmed=0, skipped=0)
    changes = Changes() if changes is None else changes
    in_progress = deque[asyncio.Task[Counter[str]]]()
    try:
        for batch in batches(known, batch_size):
            await checkpoint(counts.total(), len(known))
            if len(in_progress) == _BATCHES_AT_ONCE:
                counts.update(await in_progress.popleft())
            warming = _warm_batch(resources, shop.id, batch, changes, force=force)
            in_progress.append(asyncio.create_task(warming))
    finally:  # also when the run stops: the batches in progress are finished
        await asyncio.gather(*in_progress, return_exceptions=True)
    for each in in_progress:
        counts.update(each.result())
    return {"registries": len(known), **counts}


async def _warm_batch(
    resources: Resources, shop_id: int, batch: Sequence[CurrentVersion], changes: Changes, *, force: bool
) -> Counter[str]:
    due = [each.slug for each in batch] if force else await find_due(resources, shop_id, batch)
    warmed = len(await refill(resources, shop_id, due))
    changes["warmed"] += warmed  # at once: if Redis fails, so does the other batch in progress
    return Counter(current=len(batch) - len(due), warmed=warmed, skipped=len(due) - warmed)


async def find_due(resources: Resources, shop_id: int, batch: Sequence[CurrentVersion]) -> list[str]:
    """The slugs of these registries whose entries are missing, outdated, or stale too soon."""
    headers = await resources.cache.headers(shop_id, [each.slug for each in batch])
    fresh_until_ms = 1000 * (datetime.now(UTC) + FRESH_FOR).timestamp()
    return [
        each.slug
        for each in batch
        if (header := headers.get(each.slug)) is None
        or header.version < each.version
        or header.soft_expiry_ms < fresh_until_ms
    ]
