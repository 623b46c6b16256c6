"""Artifacts, task runs and logs of a flow run, read from Prefect."""

import json
from typing import Any
from uuid import UUID

from prefect import State, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterType,
    LogFilter,
    LogFilterFlowRunId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, TaskRun
from prefect.logging.handlers import APILogHandler

from tests.support.waiting import wait_until


async def artifacts_of(state: State[Any], kind: str) -> list[Artifact]:
    run_id = state.state_details.flow_run_id
    assert run_id
    query = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]), type=ArtifactFilterType(any_=[kind]))
    async with get_client() as client:
        return await client.read_artifacts(artifact_filter=query)


async def summary_of(state: State[Any]) -> str:
    [artifact] = await artifacts_of(state, "markdown")
    return str(artifact.data)


async def table_of(state: State[Any]) -> list[dict[str, Any]]:
    """The rows of the run's only table artifact."""
    [artifact] = await artifacts_of(state, "table")
    assert artifact.description == state.message
    rows: list[dict[str, Any]] = json.loads(str(artifact.data))
    return rows


async def tasks_of(state: State[Any], name: str, count: int = 1) -> list[TaskRun]:
    """The task runs of the run whose names begin with `name`, once there are `count` at least and all have ended.

    Prefect writes task runs from events: when the flow returns, some may be missing, or have an earlier state.
    """
    run_id = state.state_details.flow_run_id
    assert run_id
    query = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run_id]))
    found: list[TaskRun] = []

    async def have_ended() -> bool:
        async with get_client() as client:
            runs = await client.read_task_runs(task_run_filter=query)
        found[:] = [run for run in runs if run.name.startswith(name)]
        return len(found) >= count and all(run.state and run.state.is_final() for run in found)

    await wait_until(have_ended, f"{count} task runs {name!r} have not ended: {found}", pause=0.1)
    return found


async def logs_of(state: State[Any], until: str = "") -> str:
    """The run's logs, once they contain `until`: Prefect's server stores them with a delay."""
    await APILogHandler.aflush()  # else they leave this process two seconds later
    run_id = state.state_details.flow_run_id
    assert run_id
    query = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(str(run_id))]))
    lines: list[str] = []

    async def are_complete() -> bool:
        async with get_client() as client:
            lines[:] = [log.message for log in await client.read_logs(query)]
        return until in "\n".join(lines)

    await wait_until(are_complete, f"the run did not log {until!r}")
    return "\n".join(lines)
