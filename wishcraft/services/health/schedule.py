"""Overdue, upcoming and failed runs, read from Prefect's REST API. Must not import Prefect: the API runs without it."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx

from wishcraft.services.operations.prefect_api import PAGE, find_all, paused_jobs, post
from wishcraft.settings import Settings

OVERDUE: Final = timedelta(minutes=5)
"""A worker starts a due run within seconds, unless none is up or the work pool is paused."""
RECENT: Final = timedelta(hours=1)
"""How long failed runs are shown."""
_WAITING: Final[Mapping[str, Any]] = {"type": {"any_": ["SCHEDULED"]}, "name": {"any_": ["Scheduled", "Late"]}}
"""Excludes AwaitingRetry and AwaitingConcurrencySlot, which wait on purpose."""


class ScheduleState(NamedTuple):
    """Overdue runs by deployment, whether no run is scheduled for the future, and the jobs that failed or are paused.

    Of more than `PAGE` overdue or failed runs, only so many are counted: a probe has a second.
    """

    overdue: Mapping[str, int]
    is_empty: bool
    failed: Mapping[str, int]
    """Runs that failed or crashed within `RECENT`, by deployment."""
    paused: Sequence[str] = ()
    """Deployments whose schedule an operator has paused."""


async def find_schedule(http: httpx.AsyncClient, settings: Settings, now: datetime | None = None) -> ScheduleState:
    """Read the state of all deployments' schedules.

    Raises:
        ConfigurationError: PREFECT_API_URL is not set.
        httpx.HTTPError: Prefect did not answer, or answered with an error.
    """
    now = now or datetime.now(UTC)
    due = {"before_": (now - OVERDUE).isoformat()}
    failed = {
        "state": {"type": {"any_": ["FAILED", "CRASHED"]}},
        "end_time": {"after_": (now - RECENT).isoformat()},
        "deployment_id": {"is_null_": False},
    }
    deployments, late_runs, failed_runs, upcoming = await asyncio.gather(
        find_all(http, settings, "deployments/filter", {}),
        post(http, settings, "flow_runs/filter", {"flow_runs": _waiting(due), "limit": PAGE}),
        post(http, settings, "flow_runs/filter", {"flow_runs": failed, "limit": PAGE}),
        post(http, settings, "flow_runs/count", {"flow_runs": _waiting({"after_": now.isoformat()})}),
    )
    overdue, bad = (Counter(run["deployment_id"] for run in runs) for runs in (late_runs, failed_runs))
    names = {deployment["id"]: deployment["name"] for deployment in deployments}
    return ScheduleState(
        {name: overdue[each] for each, name in names.items()},
        upcoming == 0,
        {name: bad[each] for each, name in names.items() if bad[each]},
        paused_jobs(deployments),
    )


def _waiting(expected_start: Mapping[str, str]) -> dict[str, Any]:
    return {"state": _WAITING, "expected_start_time": expected_start}
