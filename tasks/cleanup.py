"""The task of the jobs `cleanup-logs` and `cleanup-sessions`."""

from collections.abc import Mapping
from datetime import datetime

from prefect.runtime import task_run

from tasks.runtime.retries import task
from tasks.runtime.run_cleanup import delete_runs
from tasks.runtime.work_items import WorkState, work_on_items
from wishcraft.domain.retention import Bounds, DataKind
from wishcraft.resources import open_resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.services.cleanup.expired import clean_files, clean_orphans, clean_table


def _task_name() -> str:
    return f"delete {', '.join(task_run.parameters['kinds'])}"


@task(_task_name)
async def delete_expired(kinds: list[DataKind], *, before: Mapping[DataKind, datetime], bounds: Bounds) -> WorkState:
    """Delete the rows of these kinds older than their cutoff in `before`.

    Raises:
        TransientError: As `work_on_items`.
    """

    async def delete(kind: DataKind, checkpoint: Checkpoint, changes: Changes) -> dict[str, int]:
        if kind is DataKind.RUNS:
            return await delete_runs(before[kind], bounds, checkpoint, changes)
        async with open_resources(redis_timeout=5) as resources:
            if kind in {DataKind.FILES, DataKind.ERASURES}:
                return await clean_files(resources, kind, before[kind], bounds, checkpoint=checkpoint, changes=changes)
            if kind is DataKind.ORPHANS:
                return await clean_orphans(resources, before[kind], bounds, checkpoint=checkpoint, changes=changes)
            return await clean_table(resources, kind, before[kind], bounds, checkpoint=checkpoint, changes=changes)

    return await work_on_items({str(kind): kind for kind in kinds}, delete, "table")
