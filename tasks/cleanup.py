"""The task of the jobs `cleanup-logs` and `cleanup-sessions`."""

import time
from collections.abc import Mapping
from datetime import datetime

from prefect.runtime import task_run

from tasks.cleanup_runs import clean_runs
from tasks.runtime.progress import BatchProgress
from tasks.runtime.retries import task
from wishcraft.domain.retention import Bounds, Kind
from wishcraft.domain.work_results import WorkResult
from wishcraft.errors import RunStopped
from wishcraft.resources import open_resources
from wishcraft.services.checkpoint import Checkpoint
from wishcraft.services.cleanup.expired import clean_orphans, clean_table


def _name() -> str:
    return f"delete {', '.join(task_run.parameters['kinds'])}"


@task(_name)
async def delete_old(kinds: list[Kind], *, before: Mapping[Kind, datetime], bounds: Bounds) -> list[WorkResult]:
    """Delete what is older than its kind's moment; a failure ends the task, so that it is tried again."""
    progress = BatchProgress(len(kinds))
    outcomes = []
    for kind in kinds:
        outcomes.append(await _attempt(kind, before[kind], bounds, progress.checkpoint))
        progress.finish_shop()
    return outcomes


async def _attempt(kind: Kind, before: datetime, bounds: Bounds, checkpoint: Checkpoint) -> WorkResult:
    started = time.perf_counter()
    try:
        counts = await _clean(kind, before, bounds, checkpoint)
    except RunStopped:
        return WorkResult(kind, stopped=True)
    return WorkResult(kind, counts, time.perf_counter() - started, tries=task_run.run_count)


async def _clean(kind: Kind, before: datetime, bounds: Bounds, checkpoint: Checkpoint) -> dict[str, int]:
    if kind is Kind.RUNS:
        return await clean_runs(before, bounds, checkpoint)
    async with open_resources(redis_timeout=5) as resources:
        if kind is Kind.ORPHANS:
            return await clean_orphans(resources, before, bounds, checkpoint=checkpoint)
        return await clean_table(resources, kind, before, bounds, checkpoint=checkpoint)
