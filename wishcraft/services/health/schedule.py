"""Overdue and upcoming runs, read from Prefect's REST API. Must not import Prefect: the API runs without it."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx

from wishcraft.services.operations.prefect_api import post
from wishcraft.settings import Settings

OVERDUE: Final = timedelta(minutes=5)
"""A worker starts a due run within seconds, unless none is up or the work pool is paused."""
_WAITING: Final[Mapping[str, Any]] = {"type": {"any_": ["SCHEDULED"]}, "name": {"any_": ["Scheduled", "Late"]}}
"""Excludes AwaitingRetry and AwaitingConcurrencySlot, which wait on purpose."""
_PAGE_LIMIT: Final = 200
"""The most that Prefect returns at once."""


class ScheduleState(NamedTuple):
    """Number of overdue runs by deployment, and whether no run is scheduled for the future."""

    overdue: Mapping[str, int]
    is_empty: bool


async def find_schedule(http: httpx.AsyncClient, settings: Settings, now: datetime | None = None) -> ScheduleState:
    """Read the state of all deployments' schedules.

    Raises:
        ConfigurationError: PREFECT_API_URL is not set.
        httpx.HTTPError: Prefect did not answer, or answered with an error.
    """
    now = now or datetime.now(UTC)
    due = {"before_": (now - OVERDUE).isoformat()}
    deployments, late_runs, upcoming = await asyncio.gather(
        post(http, settings, "deployments/filter", {"limit": _PAGE_LIMIT}),
        post(http, settings, "flow_runs/filter", {"flow_runs": _waiting(due), "limit": _PAGE_LIMIT}),
        post(http, settings, "flow_runs/count", {"flow_runs": _waiting({"after_": now.isoformat()})}),
    )
    overdue = Counter(run["deployment_id"] for run in late_runs)
    return ScheduleState({deployment["name"]: overdue[deployment["id"]] for deployment in deployments}, upcoming == 0)


def _waiting(expected_start: Mapping[str, str]) -> dict[str, Any]:
    return {"state": _WAITING, "expected_start_time": expected_start}
