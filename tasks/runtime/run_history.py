"""Earlier runs, read from Prefect's API: how they ended, and the tables among their artifacts."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import ArtifactSort, FlowRunSort

from tasks.runtime.ui_links import run_page
from wishcraft.domain.batches import batches
from wishcraft.reports.page import PreviousTable
from wishcraft.reports.sections.runs import REFUSED, Run
from wishcraft.services.operations.prefect_api import read_pages

_TABLES_PAGE: Final = 5
_TAGS_PER_REQUEST: Final = 100
_ENDED: Final = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]


async def read_runs(begin: datetime, end: datetime) -> list[Run]:
    """The runs that ended from `begin` to `end`, the latest first."""
    query = FlowRunFilter.model_validate(
        {"end_time": {"after_": begin, "before_": end}, "state": {"type": {"any_": _ENDED}}}
    )
    async with get_client() as client:
        jobs = {flow.id: flow.name for flow in await read_pages(client.read_flows)}
        found = await read_pages(client.read_flow_runs, flow_run_filter=query, sort=FlowRunSort.END_TIME_DESC)
    return [_run(run, jobs.get(run.flow_id, "unknown")) for run in found]


async def read_table(key: str, before: datetime) -> PreviousTable:
    """The latest table artifact with this key from before this time; an empty one if there is none."""
    query = ArtifactFilter.model_validate({"key": {"any_": [key]}, "type": {"any_": ["table"]}})
    offset = 0
    async with get_client() as client:
        while page := await client.read_artifacts(
            artifact_filter=query, sort=ArtifactSort.CREATED_DESC, limit=_TABLES_PAGE, offset=offset
        ):
            for artifact in page:
                if artifact.created and artifact.created < before:
                    created = datetime.fromtimestamp(artifact.created.timestamp(), UTC)
                    return PreviousTable(json.loads(str(artifact.data)), created)
            offset += len(page)
    return PreviousTable()


async def find_completed_tags(tags: Sequence[str]) -> set[str]:
    """The given tags that a completed run has."""
    completed: set[str] = set()
    async with get_client() as client:
        for some in batches(tags, _TAGS_PER_REQUEST):
            query = FlowRunFilter.model_validate(
                {"tags": {"any_": list(some)}, "state": {"type": {"any_": [StateType.COMPLETED]}}}
            )
            runs = await read_pages(client.read_flow_runs, flow_run_filter=query)
            completed.update(tag for run in runs for tag in run.tags)
    return completed & set(tags)


def _run(run: FlowRun, job: str) -> Run:
    assert run.end_time  # noqa: S101  the query selects by it
    return Run(
        job=job,
        name=run.name,
        outcome=REFUSED if run.state_name == "Refused" else (run.state_type or StateType.COMPLETED).value.lower(),
        ended=datetime.fromtimestamp(run.end_time.timestamp(), UTC),
        seconds=run.total_run_time.total_seconds(),
        message=(run.state and run.state.message) or "",
        url=run_page(run.id),
        is_scheduled=run.auto_scheduled,
    )
