"""Runs of jobs, read from Prefect's REST API: those under way, those that ended last, and those that come next."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import httpx

from wishcraft.services.operations.prefect_api import find_all, paused_jobs, post
from wishcraft.settings import Settings

_UNDER_WAY: Final = ("RUNNING", "PENDING", "CANCELLING", "PAUSED")
_ENDED: Final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class JobRun(NamedTuple):
    """A run: `at` is when it started, ended or will start, `seconds` how long it ran."""

    id: str
    job: str
    state: str
    message: str
    at: datetime | None
    seconds: float


class JobRuns(NamedTuple):
    """The ids of jobs by name, their runs, and the jobs whose schedule is paused."""

    jobs: Mapping[str, str]
    under_way: list[JobRun]
    ended: list[JobRun]
    next: list[JobRun]
    paused: list[str]


async def find_runs(http: httpx.AsyncClient, settings: Settings, limit: int) -> JobRuns:
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
    times = ("start_time", "end_time", "expected_start_time")
    under_way, ended, upcoming = (
        [_run(run, names, time) for run in each] for each, time in zip(found, times, strict=True)
    )
    jobs = {name: id_ for id_, name in names.items()}
    return JobRuns(jobs, under_way, ended, upcoming, paused_jobs(deployments))


def _query(states: tuple[str, ...], sort: str, limit: int) -> dict[str, Any]:
    runs = {"state": {"type": {"any_": states}}, "deployment_id": {"is_null_": False}}
    return {"flow_runs": runs, "sort": sort, "limit": limit}


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
