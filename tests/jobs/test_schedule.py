"""The schedule that health probes read, from a real Prefect server."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import State, flow, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL
from prefect.states import (
    AwaitingConcurrencySlot,
    AwaitingRetry,
    Cancelled,
    Completed,
    Crashed,
    Failed,
    Late,
    Running,
    Scheduled,
)

from wishcraft.errors import ConfigurationError
from wishcraft.services.health.schedule import OVERDUE, RECENT, find_schedule
from wishcraft.services.operations.prefect_api import start_run
from wishcraft.services.operations.runs import find_runs
from wishcraft.settings import Settings

pytestmark = pytest.mark.usefixtures("prefect_server")
NOW = datetime(2001, 2, 3, 10, tzinfo=UTC)
"""Long before the runs of any other test."""
SECOND = timedelta(seconds=1)


@flow
async def idle() -> None:
    """A flow whose runs are created and never started."""


async def test_late_runs_are_overdue_and_runs_that_wait_for_a_slot_or_a_retry_are_not(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wishcraft.services.operations.prefect_api.PAGE", 1)  # of the two deployments
    with_prefect = settings.model_copy(update={"prefect_api_url": PREFECT_API_URL.value()})
    async with get_client() as client, httpx.AsyncClient() as http:
        flow_id = await client.create_flow(idle)
        late, waiting = [await client.create_deployment(flow_id, name) for name in ("is-late", "waits")]
        runs: list[tuple[UUID, State[Any]]] = [
            (late, Scheduled(scheduled_time=NOW - OVERDUE - SECOND)),
            (late, Late(scheduled_time=NOW - 2 * OVERDUE)),
            (late, Scheduled(scheduled_time=NOW - OVERDUE + SECOND)),
            (waiting, AwaitingRetry(scheduled_time=NOW - 2 * OVERDUE)),
            (waiting, AwaitingConcurrencySlot(scheduled_time=NOW - 2 * OVERDUE)),
        ]
        for deployment_id, state in runs:
            await client.create_flow_run_from_deployment(deployment_id, state=state)
        try:
            found = await find_schedule(http, with_prefect, NOW)
            far_future = await find_schedule(http, with_prefect, NOW + timedelta(days=365_000))
        finally:
            for deployment_id in (late, waiting):
                await client.delete_deployment(deployment_id)
    assert {job: found.overdue[job] for job in ("is-late", "waits")} == {"is-late": 2, "waits": 0}
    assert far_future.overdue["is-late"] == 3
    assert far_future.is_empty


async def test_future_runs_count_as_a_schedule(settings: Settings) -> None:
    with_prefect = settings.model_copy(update={"prefect_api_url": PREFECT_API_URL.value()})
    async with get_client() as client, httpx.AsyncClient() as http:
        deployment_id = await client.create_deployment(await client.create_flow(idle), "is-to-come")
        await client.create_flow_run_from_deployment(deployment_id, state=Scheduled(scheduled_time=NOW + SECOND))
        try:
            assert not (await find_schedule(http, with_prefect, NOW)).is_empty
        finally:
            await client.delete_deployment(deployment_id)


async def test_runs_that_failed_within_an_hour_are_counted_by_job(settings: Settings) -> None:
    with_prefect = settings.model_copy(update={"prefect_api_url": PREFECT_API_URL.value()})
    async with get_client() as client, httpx.AsyncClient() as http:
        deployment_id = await client.create_deployment(await client.create_flow(idle), "has-failed")
        try:
            states: list[State[Any]] = [Failed(), Crashed(), Completed(), Cancelled(name="Refused")]
            for state in states:
                run = await client.create_flow_run_from_deployment(deployment_id)
                await client.set_flow_run_state(run.id, state, force=True)
            found = await find_schedule(http, with_prefect)
            later = await find_schedule(http, with_prefect, datetime.now(UTC) + 2 * RECENT)
        finally:
            await client.delete_deployment(deployment_id)
    assert (found.failed["has-failed"], "has-failed" in later.failed) == (2, False)


async def test_runs_of_each_kind_have_their_job_and_time(settings: Settings) -> None:
    with_prefect = settings.model_copy(update={"prefect_api_url": PREFECT_API_URL.value()})
    async with get_client() as client, httpx.AsyncClient() as http:
        deployment_id = await client.create_deployment(await client.create_flow(idle), "is-shown")
        try:
            states: list[State[Any]] = [Running(), Completed(message="3 shops"), Scheduled(scheduled_time=NOW)]
            for state in states:
                run = await client.create_flow_run_from_deployment(deployment_id)
                await client.set_flow_run_state(run.id, state, force=True)
            found = await find_runs(http, with_prefect, 200)
        finally:
            await client.delete_deployment(deployment_id)
    assert found.jobs["is-shown"] == str(deployment_id)
    shown = [[run for run in runs if run.job == "is-shown"] for runs in found[1:4]]
    assert [(run.state, run.message) for [run] in shown] == [
        ("Running", ""),
        ("Completed", "3 shops"),
        ("Scheduled", ""),
    ]
    assert all(run.at for [run] in shown)


async def test_last_failed_run_of_a_scheduled_job_counts_until_the_job_completes(settings: Settings) -> None:
    with_prefect = settings.model_copy(update={"prefect_api_url": PREFECT_API_URL.value()})
    ends: dict[str, list[State[Any]]] = {
        "often-fails": [Failed(), Crashed(), Failed(), Failed()],
        "recovered": [Failed(), Completed()],
        "not-again": [Completed(), Failed(), Cancelled()],
    }
    yearly = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 0 1 1 *"))
    async with get_client() as client, httpx.AsyncClient() as http:
        flow_id = await client.create_flow(idle)
        ids = [await client.create_deployment(flow_id, name, schedules=[yearly]) for name in reversed(ends)]
        ids += [await client.create_deployment(flow_id, "by-hand")]
        try:
            for deployment_id, states in zip(ids, [*reversed(ends.values()), [Failed()]], strict=True):
                for state in states:
                    run = await client.create_flow_run_from_deployment(deployment_id)
                    await client.set_flow_run_state(run.id, state, force=True)
            found = await find_runs(http, with_prefect, 1, page=2)  # fewer than one job's failures
        finally:
            for deployment_id in ids:
                await client.delete_deployment(deployment_id)
    shown = [(run.job, run.state) for run in found.failing if run.job in {*ends, "by-hand"}]
    assert shown == [("often-fails", "Failed"), ("not-again", "Failed")]


async def test_a_job_is_started_once_for_an_idempotency_key(settings: Settings) -> None:
    with_prefect = settings.model_copy(update={"prefect_api_url": PREFECT_API_URL.value()})
    parameters = {"shops": ["maple-and-pine.myshopify.com"]}
    async with get_client() as client, httpx.AsyncClient() as http:
        deployment_id = await client.create_deployment(await client.create_flow(idle), "is-started")
        try:
            for _ in range(2):
                await start_run(http, with_prefect, "is-started", parameters, "installed-1")
            query = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
            runs = await client.read_flow_runs(deployment_filter=query)
        finally:
            await client.delete_deployment(deployment_id)
        assert [(run.parameters, run.state_name) for run in runs] == [(parameters, "Scheduled")]
        with pytest.raises(ConfigurationError, match="no job no-such-job"):
            await start_run(http, with_prefect, "no-such-job", {}, "installed-1")
