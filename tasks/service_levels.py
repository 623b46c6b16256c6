"""The tasks of the job `service-levels`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import StateType

from tasks.runtime.retries import task
from wishcraft.domain.service_levels import DAYS, Count, Tally
from wishcraft.reports import service_levels
from wishcraft.resources import open_resources
from wishcraft.services.operations.prefect_api import read_pages

_DAY: Final = timedelta(days=1)
_BAD: Final = (StateType.FAILED, StateType.CRASHED)
"""A run that timed out is `Failed` too. Cancelled runs are not counted."""


@task("count runs")
async def count_runs(end: datetime) -> dict[int, Count]:
    """All and failed runs of scheduled jobs per day: 0 is the last 24 hours before `end`, 1 the 24 hours before those.

    Jobs without a schedule answer a person's question, who sees how it ends. Prefect counts the runs: two requests per
    day of the period, for any number of runs. Deleted runs are not counted.
    """
    async with get_client() as client:
        scheduled = [each.id for each in await read_pages(client.read_deployments) if each.schedules]
        return {ago: await _count_day(client, end - ago * _DAY, scheduled) for ago in range(DAYS)}


@task("count service minutes")
async def tally_days(end: datetime, runs: Mapping[int, Count]) -> list[Tally]:
    """Counts of requests, runs, mails and webhooks for each of the last days before `end`, the latest first."""
    async with open_resources() as resources:
        return await service_levels.tally_days(resources, end, runs)


async def _count_day(client: PrefectClient, end: datetime, deployments: Sequence[UUID]) -> Count:
    within = {"after_": end - _DAY, "before_": end - timedelta(microseconds=1)}  # Prefect includes both ends
    ended = {"deployment_id": {"any_": list(deployments)}, "end_time": within}
    total, bad = [
        await client.count_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({**ended, "state": {"type": {"any_": states}}})
        )
        for states in ((StateType.COMPLETED, *_BAD), _BAD)
    ]
    return Count(total, bad)
