"""Deletes Prefect's own history past its time, through Prefect's API: runs with their states, tasks, logs, artifacts.

The server's vacuum deletes runs that have ended; this one also those that never did, and it reports.
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
from wishcraft.services.checkpoint import Checkpoint
from wishcraft.services.cleanup.expired import delete_in_batches

MOST_RUNS: Final = 50
"""In a batch: each is a request or more, and Prefect's server answers some hundred a second."""
REQUESTS_AT_ONCE: Final = 4


async def clean_runs(before: datetime, bounds: Bounds, checkpoint: Checkpoint) -> dict[str, int]:
    """Delete the runs that ended before this moment, or started before it and never ended, or never started.

    Raises:
        RunStopped: The checkpoint said so; the batches before it stand.
    """
    past = _past(before)
    async with get_client() as client:

        async def count() -> int:
            return sum([await client.count_flow_runs(flow_run_filter=each) for each in past])

        async def delete(runs: int) -> int:
            for each in past:
                if deleted := await _delete(client, each, min(runs, MOST_RUNS)):
                    return deleted
            return 0

        return await delete_in_batches(count, delete, bounds, checkpoint)


def _past(before: datetime) -> list[FlowRunFilter]:
    """The runs past their time, in three filters that share none.

    Late ones count from their start, lest a run that had to wait for a worker be deleted while it works.
    """
    filters: list[dict[str, object]] = [
        {"end_time": {"before_": before}},
        {"end_time": {"is_null_": True}, "start_time": {"before_": before}},
        {
            "end_time": {"is_null_": True},
            "start_time": {"is_null_": True},
            "expected_start_time": {"before_": before},
        },
    ]
    return [FlowRunFilter.model_validate(each) for each in filters]


async def _delete(client: PrefectClient, past: FlowRunFilter, limit: int) -> int:
    """Delete a batch; how many of its runs nobody else was faster to delete.

    Artifacts go before the run that they would be found by: whoever is killed in between has lost nothing to find.
    """
    runs = [run.id for run in await client.read_flow_runs(flow_run_filter=past, limit=limit)]
    while artifacts := await _find_artifacts(client, runs):
        await _each(client.delete_artifact, artifacts)
    return await _each(client.delete_flow_run, runs)


async def _find_artifacts(client: PrefectClient, runs: list[UUID]) -> list[UUID]:
    """Some of the runs' artifacts, and of those that only name a task of theirs."""
    if not runs:
        return []
    own = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=runs))
    of_tasks = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=runs))
    found = await client.read_artifacts(artifact_filter=own) or await client.read_artifacts(task_run_filter=of_tasks)
    return [artifact.id for artifact in found]


async def _each(delete: Callable[[UUID], Awaitable[None]], ids: Sequence[UUID]) -> int:
    turns = asyncio.Semaphore(REQUESTS_AT_ONCE)

    async def one(each: UUID) -> bool:
        async with turns:
            try:
                await delete(each)
            except ObjectNotFound:  # another run was faster
                return False
            return True

    return sum(await asyncio.gather(*map(one, ids)))
