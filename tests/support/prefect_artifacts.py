"""Artifacts, task runs and logs of a flow run, read from Prefect."""

import asyncio
import json
import time
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


async def tasks_of(state: State[Any]) -> list[TaskRun]:
    run_id = state.state_details.flow_run_id
    assert run_id
    async with get_client() as client:
        return await client.read_task_runs(
            task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run_id]))
        )


async def logs_of(state: State[Any], until: str = "") -> str:
    """The run's logs, once they contain `until`: Prefect sends logs with a delay."""
    run_id = state.state_details.flow_run_id
    assert run_id
    query = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(str(run_id))]))
    deadline = time.monotonic() + 30
    while True:
        async with get_client() as client:
            logs = "\n".join(log.message for log in await client.read_logs(query))
        if until in logs:
            return logs
        assert time.monotonic() < deadline, f"the run did not log {until!r}"
        await asyncio.sleep(0.05)
