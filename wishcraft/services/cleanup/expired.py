"""Deletes what is past its time, in batches that are each committed: it can be stopped, killed and doubled anywhere.

Counts, everywhere here: `old` (past its time as the work began), of them `deleted`, and what is `left` at the end:
of a dry run, of a run whose time was up, or in the hands of another run.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from wishcraft.domain.retention import Bounds, Kind
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Checkpoint, no_checkpoint
from wishcraft.store import retention


async def delete_in_batches(
    count: Callable[[], Awaitable[int]],
    delete: Callable[[int], Awaitable[int]],
    bounds: Bounds,
    checkpoint: Checkpoint = no_checkpoint,
) -> dict[str, int]:
    """Call `delete`, which takes a number of rows and says how many it deleted, until it finds none or time is up.

    Raises:
        RunStopped: The checkpoint said so; the batches before it stand.
    """
    old, deleted = await count(), 0
    while not bounds.dry_run and datetime.now(UTC) < bounds.until:
        await checkpoint(deleted, old)
        gone = await delete(bounds.rows)
        if not gone:
            break
        deleted += gone
    return {"old": old, "deleted": deleted, "left": await count() if deleted else old}


async def clean_table(
    resources: Resources, kind: Kind, before: datetime, bounds: Bounds, *, checkpoint: Checkpoint = no_checkpoint
) -> dict[str, int]:
    """Delete the rows of this kind that are older than `before`, the oldest first.

    Raises:
        RunStopped: The checkpoint said so; the batches before it stand.
    """

    async def count() -> int:
        async with resources.db.repeatable_read() as session:
            return await retention.count_old(session, kind, before)

    async def delete(rows: int) -> int:
        async with resources.db.transaction() as session:
            return await retention.delete_old(session, kind, before, rows)

    return await delete_in_batches(count, delete, bounds, checkpoint)


async def clean_orphans(
    resources: Resources, now: datetime, bounds: Bounds, *, checkpoint: Checkpoint = no_checkpoint
) -> dict[str, int]:
    """Drop the sessions in Redis that have no live row in PostgreSQL; rows that Redis does not know are left alone.

    Redis is asked first: a session is put there after its row has been committed, so one that is seen has its row.
    If time is up, the counts have `unfinished`: Redis was not looked at as a whole.

    Raises:
        CacheUnavailable: Redis is away; what was dropped before stays so.
        RunStopped: The checkpoint said so; what was dropped before stays so.
    """
    counts = Counter(old=0, deleted=0, left=0)
    seen = 0
    async for held in resources.sessions.batches(bounds.rows):
        if datetime.now(UTC) >= bounds.until:
            counts.update(unfinished=1)
            break
        await checkpoint(seen, seen + len(held))
        seen += len(held)
        async with resources.db.repeatable_read() as session:
            live = await retention.find_live_sessions(session, [each.session_id for each in held], now)
        orphans = [each for each in held if each not in live]
        dropped = 0 if bounds.dry_run else await resources.sessions.delete(orphans)
        counts.update(old=len(orphans), deleted=dropped, left=len(orphans) if bounds.dry_run else 0)
    return dict(counts)
