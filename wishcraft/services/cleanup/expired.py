"""Deletes expired rows and sessions in committed batches: it can be stopped, killed or run twice at once.

All functions return these counts: `old` (expired when the run began), `deleted`, and `left` at its end, by a dry run,
by a run that reached its deadline, or because another run holds the rows. They add what they delete to `changes`, as
`old` and as `deleted`.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from wishcraft.domain.retention import Bounds, DataKind
from wishcraft.files import ERASURES, RUNS
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint, no_checkpoint
from wishcraft.store import retention


async def delete_in_batches(
    count: Callable[[], Awaitable[int]],
    delete: Callable[[int], Awaitable[int]],
    bounds: Bounds,
    checkpoint: Checkpoint,
    changes: Changes | None,
) -> dict[str, int]:
    """Call `delete` with a batch size until it returns 0 deleted rows or the time of `bounds` is up.

    Raises:
        RunStopped: Raised by the checkpoint; earlier batches stay committed.
    """
    old, deleted = await count(), 0
    while not bounds.dry_run and datetime.now(UTC) < bounds.until:
        await checkpoint(deleted, old)
        batch = await delete(bounds.rows)
        if not batch:
            break
        deleted += batch
        if changes is not None:
            changes.update(old=batch, deleted=batch)
    return {"old": old, "deleted": deleted, "left": old if bounds.dry_run else await count()}


async def clean_table(
    resources: Resources,
    kind: DataKind,
    before: datetime,
    bounds: Bounds,
    *,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
) -> dict[str, int]:
    """Delete the rows of this kind that are older than `before`, oldest first.

    Raises:
        RunStopped: Raised by the checkpoint; earlier batches stay committed.
    """

    async def count() -> int:
        async with resources.db.repeatable_read() as session:
            return await retention.count_old(session, kind, before)

    async def delete(rows: int) -> int:
        async with resources.db.transaction() as session:
            return await retention.delete_old(session, kind, before, rows)

    return await delete_in_batches(count, delete, bounds, checkpoint, changes)


async def clean_files(
    resources: Resources,
    kind: DataKind,
    before: datetime,
    bounds: Bounds,
    *,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
) -> dict[str, int]:
    """Delete files that are older than `before`: those for people, or entries of the journal of erasures.

    Raises:
        ConfigurationError: The disk refuses it.
        RunStopped: Raised by the checkpoint.
    """
    find = partial(resources.files.find_old, RUNS if kind is DataKind.FILES else ERASURES, before)

    async def count() -> int:
        return len(await asyncio.to_thread(find))

    async def delete(files: int) -> int:
        return await asyncio.to_thread(lambda: resources.files.delete(find()[:files]))

    return await delete_in_batches(count, delete, bounds, checkpoint, changes)


async def clean_orphans(
    resources: Resources,
    now: datetime,
    bounds: Bounds,
    *,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
) -> dict[str, int]:
    """Drop the sessions in Redis that have no live row in PostgreSQL. Rows without a session in Redis are kept.

    Redis is read before PostgreSQL: a session is cached after its row is committed, so a new session is never taken for
    an orphan. If the time is up before all of Redis was read, the counts include `unfinished`.

    Raises:
        CacheUnavailable: Redis does not answer; earlier batches stay dropped.
        RunStopped: Raised by the checkpoint; earlier batches stay dropped.
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
        if changes is not None:
            changes.update(old=dropped, deleted=dropped)
    return dict(counts)
