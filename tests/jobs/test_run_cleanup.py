import asyncio
import logging
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prefect import State, flow, get_client, get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run, task_run
from prefect.states import Pending, Running, Scheduled

from tasks.runtime.run_cleanup import delete_runs
from tests.support.prefect_history import delete_all_runs
from tests.support.waiting import wait_until
from wishcraft.domain.retention import Bounds
from wishcraft.errors import RunStopped
from wishcraft.services.checkpoint import no_checkpoint

pytestmark = pytest.mark.usefixtures("prefect_server")
FOREVER = Bounds(1000, datetime.max.replace(tzinfo=UTC))


@task
async def leave_traces() -> list[UUID]:
    """Artifacts of a task run: one with a flow run, one without."""
    get_run_logger().warning("a trace")
    async with get_client() as client:
        lone = await client.create_artifact(ArtifactCreate(type="progress", task_run_id=UUID(task_run.id), data=5.0))
    return [await acreate_markdown_artifact("a trace"), lone.id]


@flow
async def traces() -> tuple[UUID, list[UUID]]:
    """A run with logs and artifacts of every kind."""
    get_run_logger().warning("a trace")
    artifacts = [*(await leave_traces()), await acreate_table_artifact([{"a": "trace"}], key="traces")]
    return UUID(flow_run.id), artifacts


@flow
async def idle() -> None:
    """A flow whose runs are created and never started."""


async def history_of(run: UUID, artifacts: list[UUID]) -> tuple[bool, int, int, int]:
    """Whether the run exists, and the numbers of its task runs, warnings and artifacts."""
    async with get_client() as client:
        try:
            exists = bool(await client.read_flow_run(run))
        except ObjectNotFound:
            exists = False
        tasks = await client.read_task_runs(
            task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run]))
        )
        logs = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run])))
        found = await client.read_artifacts(artifact_filter=ArtifactFilter(id=ArtifactFilterId(any_=artifacts)))
    return exists, len(tasks), len([log for log in logs if log.level == logging.WARNING]), len(found)


async def run_traces() -> tuple[UUID, list[UUID]]:
    run, artifacts = await traces()
    await APILogHandler.aflush()

    async def complete() -> bool:
        return await history_of(run, artifacts) == (True, 1, 2, 3)

    await wait_until(complete, "the run's history did not arrive")
    return run, artifacts


async def start(count: int = 1) -> list[UUID]:
    async with get_client() as client:
        return [(await client.create_flow_run(idle, state=Running())).id for _ in range(count)]


async def exist(runs: list[UUID]) -> list[bool]:
    async with get_client() as client:
        query = FlowRunFilter(id=FlowRunFilterId(any_=runs))
        found = {run.id for run in await client.read_flow_runs(flow_run_filter=query)}
    return [run in found for run in runs]


@pytest.fixture(autouse=True)
async def no_history() -> None:
    await delete_all_runs()


async def test_old_run_is_deleted_with_tasks_logs_and_artifacts_and_a_newer_one_is_kept() -> None:
    old = await run_traces()
    moment = datetime.now(UTC)
    new = await run_traces()
    assert await delete_runs(moment, FOREVER, no_checkpoint) == {"old": 1, "deleted": 1, "left": 0}

    async def gone() -> bool:
        return await history_of(*old) == (False, 0, 0, 0)

    await wait_until(gone, "the old run was not deleted completely")
    assert await history_of(*new) == (True, 1, 2, 3)
    assert await delete_runs(moment, FOREVER, no_checkpoint) == {"old": 0, "deleted": 0, "left": 0}


async def test_old_runs_that_never_ended_or_never_started_are_deleted() -> None:
    async with get_client() as client:
        states: list[State[None]] = [Running(), Pending(), Scheduled(scheduled_time=datetime.now(UTC))]
        runs = [(await client.create_flow_run(idle, state=state)).id for state in states]
    counts = await delete_runs(datetime.now(UTC), FOREVER, no_checkpoint)
    assert counts == {"old": 3, "deleted": 3, "left": 0}
    assert await exist(runs) == [False] * 3


async def test_late_run_that_is_running_now_is_kept() -> None:
    async with get_client() as client:
        late = (await client.create_flow_run(idle, state=Scheduled(scheduled_time=datetime.now(UTC)))).id
        moment = datetime.now(UTC)
        await client.set_flow_run_state(late, Pending(), force=True)
        await client.set_flow_run_state(late, Running(), force=True)
    assert (await delete_runs(moment, FOREVER, no_checkpoint))["old"] == 0
    assert await exist([late]) == [True]


async def test_scheduled_run_in_the_future_is_kept() -> None:
    async with get_client() as client:
        in_an_hour: State[None] = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1))
        coming = (await client.create_flow_run(idle, state=in_an_hour)).id
    assert (await delete_runs(datetime.now(UTC), FOREVER, no_checkpoint))["old"] == 0
    assert await exist([coming]) == [True]


async def test_runs_are_deleted_in_bounded_batches_and_can_be_stopped_between_them() -> None:
    runs = await start(5)
    checkpoints: list[tuple[int, int]] = []

    async def stop_at_four(done: int, total: int) -> None:
        checkpoints.append((done, total))
        if done == 4:
            raise RunStopped

    with pytest.raises(RunStopped):
        await delete_runs(datetime.now(UTC), Bounds(2, FOREVER.until), stop_at_four)
    assert checkpoints == [(0, 5), (2, 5), (4, 5)]
    assert sum(await exist(runs)) == 1


async def test_batch_of_runs_is_capped_even_if_more_rows_are_allowed() -> None:
    await start(7)
    checkpoints: list[int] = []

    async def record(done: int, _total: int) -> None:
        checkpoints.append(done)

    assert (await delete_runs(datetime.now(UTC), FOREVER, record, max_runs=4))["left"] == 0
    assert checkpoints == [0, 4, 7]


async def test_dry_run_counts_runs_and_deletes_none() -> None:
    runs = await start(3)
    bounds = Bounds(10, FOREVER.until, dry_run=True)
    assert await delete_runs(datetime.now(UTC), bounds, no_checkpoint) == {"old": 3, "deleted": 0, "left": 3}
    assert all(await exist(runs))


async def test_two_concurrent_cleanups_delete_each_run_once() -> None:
    runs = await start(8)
    now = datetime.now(UTC)
    both = await asyncio.gather(*(delete_runs(now, Bounds(2, FOREVER.until), no_checkpoint) for _ in range(2)))
    assert sum(counts["deleted"] for counts in both) == 8
    assert not any(await exist(runs))
