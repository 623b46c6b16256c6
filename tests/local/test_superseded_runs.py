"""A worker that finds several waiting runs of one schedule, as after a slow run or a pause, starts the last one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.local.conftest import deploy
from tests.support.prefect_calls import create_run, post, read_state, set_state, wait_for
from tests.support.prefect_worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("demo")]
JOB = "tests.support.slow_job.slow_job"
QUICK: dict[str, Any] = {"batches": 1, "seconds": 0}


def runs_of(http: httpx.Client, deployment: str) -> list[dict[str, Any]]:
    """The runs of the deployment, in the order in which they were due."""
    query = {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
    return list(post(http, "/flow_runs/filter", query))


def deploy_scheduled(http: httpx.Client, **options: Any) -> str:
    """A deployment with a schedule of every ten minutes, which has no runs yet."""
    every = {"schedule": {"interval": 600}, "active": False}
    deployment = deploy(http, "slow-job", JOB, parameters=QUICK, schedules=[every], **options)
    schedule = http.get(f"/deployments/{deployment}").json()["schedules"][0]["id"]
    http.patch(f"/deployments/{deployment}/schedules/{schedule}", json={"active": True}).raise_for_status()
    return deployment


def schedule(http: httpx.Client, deployment: str, minutes_ago: int, runs: int) -> None:
    """Let the schedule create this number of runs, the first of which was due at most so long ago."""
    start = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    between = {"start_time": start.isoformat(), "end_time": (start + timedelta(minutes=10 * runs)).isoformat()}
    post(http, f"/deployments/{deployment}/schedule", {**between, "min_runs": runs, "max_runs": runs})


async def test_last_waiting_run_of_a_schedule_does_the_work_of_those_before(
    http: httpx.Client, start_worker: Callable[..., Worker]
) -> None:
    job, report = deploy_scheduled(http), deploy_scheduled(http, tags=["report"])
    for deployment in (job, report):
        schedule(http, deployment, minutes_ago=40, runs=3)
    by_hand = create_run(http, job)
    worker = start_worker()

    def states(deployment: str) -> list[str]:
        return [each["state"]["type"] for each in runs_of(http, deployment) if each["id"] != by_hand][:3]

    await wait_for(lambda: states(job) == ["CANCELLED", "CANCELLED", "COMPLETED"])
    await wait_for(lambda: states(report) == ["COMPLETED"] * 3)
    await wait_for(lambda: read_state(http, by_hand)["type"] == "COMPLETED")
    assert worker.stop() == 0
    assert "next run of the schedule" in runs_of(http, job)[0]["state"]["message"]


async def test_runs_of_a_schedule_do_not_pile_up_behind_a_slow_run(
    http: httpx.Client, start_worker: Callable[..., Worker]
) -> None:
    job = deploy_scheduled(http)
    slow = create_run(http, job, batches=1, seconds=600)
    worker = start_worker()
    await wait_for(lambda: read_state(http, slow)["type"] == "RUNNING")
    schedule(http, job, minutes_ago=40, runs=1)
    by_hand = create_run(http, job, **QUICK)

    def states() -> list[str]:
        return [each["state"]["name"] for each in runs_of(http, job) if each["id"] not in (slow, by_hand)]

    await wait_for(lambda: states()[:1] == ["AwaitingConcurrencySlot"])
    schedule(http, job, minutes_ago=20, runs=1)
    await wait_for(lambda: states()[:2] == ["Cancelled", "AwaitingConcurrencySlot"])
    assert read_state(http, by_hand)["type"] == "SCHEDULED"
    set_state(http, slow, "CANCELLING")
    await wait_for(lambda: states()[1:2] == ["Completed"] and read_state(http, by_hand)["type"] == "COMPLETED")
    assert worker.stop() == 0
