"""The tasks of the job `service-levels`."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from prefect import get_client
from prefect.client.schemas.objects import StateType

from tasks.attempts import task
from wishcraft.domain.service_levels import DAYS, Count, Tally
from wishcraft.resources import open_resources
from wishcraft.services import service_levels

_DAY: Final = timedelta(days=1)
_BAD: Final = frozenset({StateType.FAILED, StateType.CRASHED})
"""A run that took too long is `Failed` too. What was cancelled is neither good nor bad."""


@task("count runs")
async def count_runs(end: datetime) -> dict[int, Count]:
    """The deployments' runs that ended well or badly, by how many times 24 hours before `end` they were due.

    Prefect sums them up itself: one request, however many they were. What it has deleted is in no count.
    """
    query = {
        "history_start": (end - DAYS * _DAY).isoformat(),
        "history_end": end.isoformat(),
        "history_interval_seconds": _DAY.total_seconds(),
        "flow_runs": {"deployment_id": {"is_null_": False}},
    }
    async with get_client() as client:
        history = (await client.request("POST", "/flow_runs/history", json=query)).json()
    return {ago: _ended(day["states"]) for ago, day in enumerate(reversed(history))}


@task("count what was served")
async def tally_days(end: datetime, runs: Mapping[int, Count]) -> list[Tally]:
    """What was counted in each of the last days before `end`, the latest first."""
    async with open_resources() as resources:
        return await service_levels.tally_days(resources, end, runs)


def _ended(states: list[dict[str, Any]]) -> Count:
    runs = {kind: sum(each["count_runs"] for each in states if each["state_type"] == kind) for kind in StateType}
    bad = sum(runs[kind] for kind in _BAD)
    return Count(runs[StateType.COMPLETED] + bad, bad)
