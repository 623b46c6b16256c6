"""The summary of a run that ended without one: what happened, and what to do."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import httpx
from prefect import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from tasks.runtime.ui_links import run_page, with_runbook_links
from wishcraft.observability.context import known_secrets
from wishcraft.observability.redaction import redact_text
from wishcraft.reports.markdown import escape
from wishcraft.services.operations.prefect_api import read_pages

CRASH_ADVICE: Final = (
    "Look at the end of the run's log, then run the job again: what was done is not repeated. If that ends in the same"
    " way, look at the log and the memory of the worker."
)
"""For a run whose process died, took too long or could not load the flow."""
_DAY: Final = timedelta(days=1)
_GRACE: Final = timedelta(minutes=1)
"""In which the worker, if it lives, writes the summary itself."""


async def summarise_failure(
    job: str, run_id: UUID, problem: str, advice: str, *, end: Literal["failed", "refused"] = "failed"
) -> None:
    """Store the summary as the artifact `<job>-<end>` of the run, if Prefect answers; the run's state has the problem.

    Prefect shows the newest artifact of a key: that of `<job>-summary` stays the last report.
    """
    advice = with_runbook_links(escape(advice))
    text = f"**{escape(problem)}**\n\n## What to do\n\n{advice}\n\n[The run, with its log]({run_page(run_id)})"
    summary = ArtifactCreate(key=f"{job}-{end}", type="markdown", description=problem, data=text, flow_run_id=run_id)
    with suppress(httpx.HTTPError):
        async with get_client() as client:
            await client.create_artifact(summary)


async def summarise_lost_runs(now: datetime) -> int:
    """Write the summaries of the last day's Crashed runs that have none, and return their number.

    Prefect's server sets a run whose machine died to Crashed; nothing is left then that could write for the run.
    """
    ended = {"after_": now - _DAY, "before_": now - _GRACE}
    crashed = FlowRunFilter.model_validate({"state": {"type": {"any_": [StateType.CRASHED]}}, "end_time": ended})
    async with get_client() as client:
        runs = await read_pages(client.read_flow_runs, flow_run_filter=crashed, sort=FlowRunSort.END_TIME_DESC)
        if not runs:
            return 0
        pages = {"type": {"any_": ["markdown"]}, "flow_run_id": {"any_": [run.id for run in runs]}}
        found = await read_pages(client.read_artifacts, artifact_filter=ArtifactFilter.model_validate(pages))
        jobs = {flow.id: flow.name for flow in await read_pages(client.read_flows)}
    known = {artifact.flow_run_id for artifact in found}
    lost = [run for run in runs if run.id not in known and run.flow_id in jobs]
    for run in lost:
        problem = redact_text((run.state and run.state.message) or "The run crashed.", known_secrets())
        await summarise_failure(jobs[run.flow_id], run.id, problem.partition("\n")[0], CRASH_ADVICE)
    return len(lost)
