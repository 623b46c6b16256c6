"""What Prefect's API knows of earlier runs: how they ended, and the tables that they left."""

import json
from datetime import UTC, datetime
from typing import Final

from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

from tasks.runtime.ui_links import run_page
from wishcraft.reports.page import PreviousTable
from wishcraft.reports.sections.runs import Run

_AT_ONCE: Final = 200
"""What Prefect's server gives out at most."""
_TABLES_AT_ONCE: Final = 5
_ENDED: Final = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]


async def read_runs(begin: datetime, end: datetime) -> list[Run]:
    """The runs that ended from `begin` until `end`, the last first."""
    chosen = FlowRunFilter.model_validate(
        {"end_time": {"after_": begin, "before_": end}, "state": {"type": {"any_": _ENDED}}}
    )
    found: list[FlowRun] = []
    async with get_client() as client:
        jobs = {flow.id: flow.name for flow in await client.read_flows()}
        while page := await client.read_flow_runs(
            flow_run_filter=chosen, sort=FlowRunSort.END_TIME_DESC, limit=_AT_ONCE, offset=len(found)
        ):
            found += page
    return [_run(run, jobs.get(run.flow_id, "unknown")) for run in found]


async def read_table(key: str, before: datetime) -> PreviousTable:
    """The newest table under the key that was left before that moment; an empty one if there is none."""
    chosen = ArtifactFilter.model_validate({"key": {"any_": [key]}, "type": {"any_": ["table"]}})
    offset = 0
    async with get_client() as client:
        while page := await client.read_artifacts(
            artifact_filter=chosen, sort=ArtifactSort.CREATED_DESC, limit=_TABLES_AT_ONCE, offset=offset
        ):
            for artifact in page:
                if artifact.created and artifact.created < before:
                    created = datetime.fromtimestamp(artifact.created.timestamp(), UTC)
                    return PreviousTable(json.loads(str(artifact.data)), created)
            offset += len(page)
    return PreviousTable()


def _run(run: FlowRun, job: str) -> Run:
    assert run.end_time  # noqa: S101  the query asks for it
    return Run(
        job=job,
        name=run.name,
        outcome=(run.state_type or StateType.COMPLETED).value.lower(),
        ended=datetime.fromtimestamp(run.end_time.timestamp(), UTC),
        seconds=run.total_run_time.total_seconds(),
        message=(run.state and run.state.message) or "",
        url=run_page(run.id),
    )
