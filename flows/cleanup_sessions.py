"""The job `cleanup-sessions`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job, run_batches, summarise
from tasks.cleanup import delete_expired
from wishcraft.domain.retention import Bounds, DataKind


@job("cleanup-sessions")
async def cleanup_sessions(
    batch_rows: Annotated[int, Field(ge=1, le=50_000)] = 5000,
    minutes: Annotated[int, Field(ge=1, le=50)] = 30,
    dry_run: bool = False,
) -> State[dict[str, int]]:
    """Delete sessions, idempotency keys and traces of deleted registries that expired, and orphaned sessions in Redis.

    Args:
        batch_rows: Maximum number of rows per transaction.
        minutes: No batch starts later than this after the start of the run; the next run deletes the rest.
        dry_run: Count what has expired; delete nothing.
    """
    now = datetime.now(UTC)
    kinds = [DataKind.SESSIONS, DataKind.ORPHANS, DataKind.IDEMPOTENCY, DataKind.COUNTED, DataKind.MAILS]
    bounds = Bounds(batch_rows, now + timedelta(minutes=minutes), dry_run)
    results = await run_batches(
        delete_expired, [[kind] for kind in kinds], before=dict.fromkeys(kinds, now), bounds=bounds
    )
    return await summarise("cleanup-sessions", results, watched=("left", "unfinished"), noun="table")
