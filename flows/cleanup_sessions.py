"""The job `cleanup-sessions`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import State
from pydantic import Field

from flows.runtime.job import job, run_batches, summarise
from tasks.cleanup import delete_old
from wishcraft.domain.retention import Bounds, Kind


@job("cleanup-sessions")
async def cleanup_sessions(
    batch_rows: Annotated[int, Field(ge=1, le=50_000)] = 5000,
    minutes: Annotated[int, Field(ge=1, le=50)] = 30,
    dry_run: bool = False,
) -> State[dict[str, int]]:
    """Delete expired sessions and idempotency keys in PostgreSQL, and sessions in Redis without a live one there.

    Args:
        batch_rows: The most rows that are deleted at once.
        minutes: No batch is begun later than this after the start; the next run goes on with what is left.
        dry_run: Count what has expired; delete nothing.
    """
    now = datetime.now(UTC)
    kinds = [Kind.SESSIONS, Kind.ORPHANS, Kind.IDEMPOTENCY]
    bounds = Bounds(batch_rows, now + timedelta(minutes=minutes), dry_run)
    outcomes = await run_batches(
        delete_old, [[kind] for kind in kinds], before=dict.fromkeys(kinds, now), bounds=bounds
    )
    return await summarise("cleanup-sessions", outcomes, watched=("left", "unfinished"), noun="table")
