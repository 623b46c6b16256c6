"""Runs of jobs, from Prefect's REST API: under way, ended last, coming next, and failed without a success since."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import httpx

from wishcraft.services.operations.prefect_api import PAGE, find_all, paused_jobs, post
from wishcraft.settings import Settings

_UNDER_WAY: Final = ("RUNNING", "PENDING", "CANCELLING", "PAUSED")
_FAILED: Final = ("FAILED", "CRASHED")
_ENDED: Final = ("COMPLETED", *_FAILED, "CANCELLED")


class JobRun(NamedTuple):
    """A run: `at` is when it started, ended or will start, `seconds` how long it ran."""

    id: str
    job: str
    state: str
    message: str
    at: datetime | None
    seconds: float


class JobRuns(NamedTuple):
    """The ids of jobs by name, their runs, and the jobs whose schedule is paused.

    `failing` are the last failed runs of the scheduled jobs that have not completed since, the newest first.
    """

    jobs: Mapping[str, str]
    under_way: list[JobRun]
    ended: list[JobRun]
    next: list[JobRun]
    paused: list[str]
    failing: list[JobRun]


async def find_runs(http: httpx.AsyncClient, settings: Settings, limit: int, *, page: int = PAGE) -> JobRuns:
    """Read up to `limit` runs of each kind; the newest, or the next, first.

    Raises:
        ConfigurationError: PREFECT_API_URL is not set.
        httpx.HTTPError: Prefect did not answer, or answered with an error.
    """
    queries = (
        _query(_UNDER_WAY, "START_TIME_DESC", limit),
        _query(_ENDED, "END_TIME_DESC", limit),
        _query(("SCHEDULED",), "NEXT_SCHEDULED_START_TIME_ASC", limit),
    )
    deployments, *found = await asyncio.gather(
        find_all(http, settings, "deployments/filter", {}),
        *(post(http, settings, "flow_runs/filter", query) for query in queries),
    )
    names = {each["id"]: each["name"] for each in deployments}
    scheduled = {each["id"] for each in deployments if each["schedules"]}
    failing = await _find_failing(http, settings, scheduled, page)
    times = ("start_time", "end_time", "expected_start_time", "end_time")
    under_way, ended, upcoming, failing_runs = (
        [_run(run, names, time) for run in each] for each, time in zip([*found, failing], times, strict=True)
    )
    jobs = {name: id_ for id_, name in names.items()}
    return JobRuns(jobs, under_way, ended, upcoming, paused_jobs(deployments), failing_runs)


async def _find_failing(http: httpx.AsyncClient, settings: Settings, deployments: set[str], page: int) -> list[Any]:
    """The last failed run of each deployment that has not completed since; `page` are read at once."""
    last: dict[str, Any] = {}
    while left := sorted(deployments - last.keys()):
        query = _query(_FAILED, "END_TIME_DESC", page, deployment_id={"any_": left})
        runs = await post(http, settings, "flow_runs/filter", query)
        last = {run["deployment_id"]: run for run in reversed(runs)} | last
        if len(runs) < page:  # else one job has failed so often that others are not among them
            break
    since = [
        _query(("COMPLETED",), deployment_id={"any_": [each]}, end_time={"after_": run["end_time"]})
        for each, run in last.items()
    ]
    completed = await asyncio.gather(*(post(http, settings, "flow_runs/count", query) for query in since))
    failing = [run for run, count in zip(last.values(), completed, strict=True) if not count]
    return sorted(failing, key=lambda run: str(run["end_time"]), reverse=True)


def _query(states: tuple[str, ...], sort: str | None = None, limit: int | None = None, **runs: Any) -> dict[str, Any]:
    """The body that finds or counts runs of deployments in these states, of which `runs` says more."""
    found = {"state": {"type": {"any_": states}}, "deployment_id": {"is_null_": False}} | runs
    return {"flow_runs": found, **({"sort": sort, "limit": limit} if sort else {})}


def _run(run: Mapping[str, Any], names: Mapping[str, str], time: str) -> JobRun:
    at, state = run.get(time), run["state"]
    return JobRun(
        run["id"],
        names.get(run["deployment_id"], "a job that was deleted"),
        state["name"],
        state.get("message") or "",
        datetime.fromisoformat(at) if at else None,
        run.get("total_run_time") or 0,
    )
