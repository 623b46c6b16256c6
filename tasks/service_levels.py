"""The tasks of the job `service-levels`."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType

from tasks.runtime.retries import task
from wishcraft.domain.service_levels import DAYS, Count, Tally
from wishcraft.reports import service_levels
from wishcraft.resources import open_resources

_DAY: Final = timedelta(days=1)
_BAD: Final = (StateType.FAILED, StateType.CRASHED)
"""A run that took too long is `Failed` too. What was cancelled is neither good nor bad."""


@task("count runs")
async def count_runs(end: datetime) -> dict[int, Count]:
    """The deployments' runs that ended well or badly, by how many times 24 hours before `end` they ended.

    Prefect counts them itself: two requests a day, however many they were. What it has deleted is in no count.
    """
    async with get_client() as client:
        return {ago: await _count_day(client, end - ago * _DAY) for ago in range(DAYS)}


@task("count what was served")
async def tally_days(end: datetime, runs: Mapping[int, Count]) -> list[Tally]:
    """What was counted in each of the last days before `end`, the latest first."""
    async with open_resources() as resources:
        return await service_levels.tally_days(resources, end, runs)


async def _count_day(client: PrefectClient, end: datetime) -> Count:
    within = {"after_": end - _DAY, "before_": end - timedelta(microseconds=1)}  # Prefect takes in both
    ended = {"deployment_id": {"is_null_": False}, "end_time": within}
    every, bad = [
        await client.count_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({**ended, "state": {"type": {"any_": states}}})
        )
        for states in ((StateType.COMPLETED, *_BAD), _BAD)
    ]
    return Count(every, bad)
