"""The progress artifact of a flow run: the percentage of its work that is done, over all its tasks."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast
from uuid import UUID

from prefect import get_client
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterTaskRunId, ArtifactFilterType
from prefect.futures import PrefectFuture, PrefectWrappedFuture, wait

from tasks.runtime.progress import UPDATE_SECONDS
from wishcraft.services.operations.prefect_api import read_pages


async def wait_with_progress(futures: Sequence[PrefectFuture[Any]], weights: Sequence[int]) -> None:
    """Wait for all futures and keep the flow run's progress artifact up to date; `weights` are their shares.

    A run that is shorter than `UPDATE_SECONDS` gets none.

    Waits in a thread, so that the event loop stays free for the run's heartbeats.
    """
    waiting = asyncio.create_task(asyncio.to_thread(wait, list(futures)))
    artifact: UUID | None = None
    while not (await asyncio.wait({waiting}, timeout=UPDATE_SECONDS))[0]:
        with suppress(Exception):  # a missed update must not fail the run after any answer of Prefect or a proxy
            artifact = await _write_artifact(artifact, await _percent(futures, weights))
    waiting.result()
    if artifact:
        with suppress(Exception):
            await _write_artifact(artifact, 100.0)


async def _write_artifact(artifact: UUID | None, percent: float) -> UUID:
    if artifact is None:
        return await acreate_progress_artifact(percent, description="Percentage of this run's work that is done.")
    await aupdate_progress_artifact(artifact, percent)
    return artifact


async def _percent(futures: Sequence[PrefectFuture[Any]], weights: Sequence[int]) -> float:
    """The weighted mean of the tasks' progress; tasks that ended count as done."""
    by_task = await _read_task_progress([future.task_run_id for future in futures])
    shares = [
        (100.0 if _has_ended(future) else by_task.get(future.task_run_id, 0.0)) * weight
        for future, weight in zip(futures, weights, strict=True)
    ]
    return round(sum(shares) / (sum(weights) or 1), 1)


async def _read_task_progress(task_runs: list[UUID]) -> dict[UUID, float]:
    """The progress artifacts of the task runs, in percent."""
    query = ArtifactFilter(
        task_run_id=ArtifactFilterTaskRunId(any_=task_runs), type=ArtifactFilterType(any_=["progress"])
    )
    async with get_client() as client:
        found = await read_pages(client.read_artifacts, artifact_filter=query)
    return {each.task_run_id: float(cast("float", each.data)) for each in found if each.task_run_id}


def _has_ended(future: PrefectFuture[Any]) -> bool:
    return isinstance(future, PrefectWrappedFuture) and bool(future.wrapped_future.done())
