"""Deletes old flow runs through Prefect's API, with their states, task runs, logs and artifacts.

Prefect's own vacuum deletes only runs that have ended; this module also deletes those that never ended, and counts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.exceptions import ObjectNotFound

from wishcraft.domain.retention import Bounds
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.services.cleanup.expired import delete_in_batches

MAX_RUNS: Final = 50
"""Runs per batch: each needs at least one request, and Prefect's server answers about a hundred a second."""
CONCURRENT_REQUESTS: Final = 4


async def delete_runs(
    before: datetime,
    bounds: Bounds,
    checkpoint: Checkpoint,
    changes: Changes | None = None,
    *,
    max_runs: int = MAX_RUNS,
) -> dict[str, int]:
    """Delete the runs that ended before `before`, and those due or started before it that never ended.

    Returns:
        Counts: `old`, `deleted` and `left`, as of `delete_in_batches`.

    Raises:
        RunStopped: Raised by the checkpoint; the batches before it stay deleted.
    """
    filters = _old_runs(before)
    async with get_client() as client:

        async def count() -> int:
            return sum([await client.count_flow_runs(flow_run_filter=each) for each in filters])

        async def delete(runs: int) -> int:
            for each in filters:
                if deleted := await _delete_batch(client, each, min(runs, max_runs)):
                    return deleted
            return 0

        return await delete_in_batches(count, delete, bounds, checkpoint, changes)


def _old_runs(before: datetime) -> list[FlowRunFilter]:
    """Two disjoint filters for old runs: those that have ended, and the others.

    The age of a late run counts from its start: a run that waited for a worker must not be deleted while it works. A
    run that has not started counts for Prefect as one that starts when it is due.
    """
    filters: list[dict[str, object]] = [
        {"end_time": {"before_": before}},
        {"end_time": {"is_null_": True}, "start_time": {"before_": before}},
    ]
    return [FlowRunFilter.model_validate(each) for each in filters]


async def _delete_batch(client: PrefectClient, old: FlowRunFilter, limit: int) -> int:
    """Delete up to `limit` runs; the number deleted here, and not by another cleanup at the same time.

    Artifacts are found through their run, so they are deleted first: a cleanup killed in between leaves no orphans.
    """
    runs = [run.id for run in await client.read_flow_runs(flow_run_filter=old, limit=limit)]
    while artifacts := await _find_artifacts(client, runs):
        await _delete_each(client.delete_artifact, artifacts)
    return await _delete_each(client.delete_flow_run, runs)


async def _find_artifacts(client: PrefectClient, runs: list[UUID]) -> list[UUID]:
    """A page of the runs' artifacts, including those that refer only to a task run."""
    if not runs:
        return []
    own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=runs))
    of_tasks = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=runs))
    found = await client.read_artifacts(artifact_filter=own) or await client.read_artifacts(task_run_filter=of_tasks)
    return [artifact.id for artifact in found]


async def _delete_each(delete: Callable[[UUID], Awaitable[None]], ids: Sequence[UUID]) -> int:
    semaphore = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def delete_one(each: UUID) -> bool:
        async with semaphore:
            try:
                await delete(each)
            except ObjectNotFound:  # deleted by another cleanup
                return False
            return True

    return sum(await asyncio.gather(*map(delete_one, ids)))
