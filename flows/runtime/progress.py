"""A run's progress artifact: the share of its work that is done, over all its tasks."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, cast
from uuid import UUID

import httpx
from prefect import get_client
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterTaskRunId, ArtifactFilterType
from prefect.futures import PrefectFuture, PrefectWrappedFuture, wait

NEWS_SECONDS: Final = 2.0
"""Between two updates; a run that takes less has no progress to look at, and no artifact of it."""


async def follow(futures: Sequence[PrefectFuture[Any]], weights: Sequence[int]) -> None:
    """Wait for all of the futures, and meanwhile keep the run's progress artifact; `weights` are their shares.

    The tasks' threads or machines do the work: this loop stays free for the run's heartbeats.
    """
    waiting = asyncio.create_task(asyncio.to_thread(wait, list(futures)))
    artifact: UUID | None = None
    while not (await asyncio.wait({waiting}, timeout=NEWS_SECONDS))[0]:
        with suppress(httpx.HTTPError):  # the work matters more than the news of it
            artifact = await _show(artifact, await _percent(futures, weights))
    waiting.result()
    if artifact:
        with suppress(httpx.HTTPError):
            await _show(artifact, 100.0)


async def _show(artifact: UUID | None, percent: float) -> UUID:
    if artifact is None:
        return await acreate_progress_artifact(percent, description="What is done of this run's work.")
    await aupdate_progress_artifact(artifact, percent)
    return artifact


async def _percent(futures: Sequence[PrefectFuture[Any]], weights: Sequence[int]) -> float:
    """What is done, by what the tasks under way have told and by those that have ended."""
    told = await _told([future.task_run_id for future in futures])
    shares = [
        (100.0 if _has_ended(future) else told.get(future.task_run_id, 0.0)) * weight
        for future, weight in zip(futures, weights, strict=True)
    ]
    return round(sum(shares) / (sum(weights) or 1), 1)


async def _told(task_runs: list[UUID]) -> dict[UUID, float]:
    """The tasks' own progress artifacts."""
    query = ArtifactFilter(
        task_run_id=ArtifactFilterTaskRunId(any_=task_runs), type=ArtifactFilterType(any_=["progress"])
    )
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=query)
    return {each.task_run_id: float(cast("float", each.data)) for each in found if each.task_run_id}


def _has_ended(future: PrefectFuture[Any]) -> bool:
    return isinstance(future, PrefectWrappedFuture) and bool(future.wrapped_future.done())
