"""Whether the jobs run when they should, as Prefect's REST API tells it: the API has no Prefect of its own."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import httpx

from wishcraft.errors import ConfigurationError
from wishcraft.settings import Settings

OVERDUE: Final = timedelta(minutes=5)
"""Between a run's being due and its begin lie seconds, unless no worker is up, or the pool is paused."""
_WAITING: Final[Mapping[str, Any]] = {"type": {"any_": ["SCHEDULED"]}, "name": {"any_": ["Scheduled", "Late"]}}
"""Without those that wait for another run of their job to end, or for their next try."""
_MOST: Final = 200
"""As many as Prefect tells at once."""


class Schedule(NamedTuple):
    """Of each job how many runs are overdue, and whether any run is to come."""

    overdue: Mapping[str, int]
    is_empty: bool


async def find_schedule(http: httpx.AsyncClient, settings: Settings, now: datetime | None = None) -> Schedule:
    """Ask Prefect's server.

    Raises:
        ConfigurationError: PREFECT_API_URL is not set.
        httpx.HTTPError: It gave no good answer.
    """
    now = now or datetime.now(UTC)
    due = {"before_": (now - OVERDUE).isoformat()}
    deployments, late, coming = await asyncio.gather(
        _ask(http, settings, "deployments/filter", {"limit": _MOST}),
        _ask(http, settings, "flow_runs/filter", {"flow_runs": _waiting(due), "limit": _MOST}),
        _ask(http, settings, "flow_runs/count", {"flow_runs": _waiting({"after_": now.isoformat()})}),
    )
    late_of = Counter(run["deployment_id"] for run in late)
    return Schedule({each["name"]: late_of[each["id"]] for each in deployments}, coming == 0)


async def _ask(http: httpx.AsyncClient, settings: Settings, path: str, body: Mapping[str, Any]) -> Any:
    if settings.prefect_api_url is None:
        raise ConfigurationError("PREFECT_API_URL is not set")
    secret = settings.prefect_api_auth_string
    auth = httpx.BasicAuth(*secret.get_secret_value().split(":", 1)) if secret else httpx.USE_CLIENT_DEFAULT
    answer = await http.post(f"{settings.prefect_api_url}/{path}", json=body, auth=auth)
    return answer.raise_for_status().json()


def _waiting(expected: Mapping[str, str]) -> dict[str, Any]:
    return {"state": _WAITING, "expected_start_time": expected}
