"""The worker with real runs: it ends them at a batch when it is told to end, and its death blocks no other run."""

import re
from collections.abc import Callable

import httpx
import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.prefect_calls import (
    becomes,
    create_run,
    deployment_id,
    hastened,
    post,
    set_state,
    state_of,
    tasks_of,
)
from tests.support.prefect_worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("demo")]


async def test_stopped_worker_ends_its_run_at_the_next_batch(
    http: httpx.Client, start: Callable[..., Worker], slow_job: str
) -> None:
    worker = start()
    run = create_run(http, slow_job, batches=10_000, seconds=0.1)
    await becomes(lambda: any(data > 0 for data in progress_of(http, run)))
    assert worker.stop() == 0
    assert state_of(http, run)["type"] == "CANCELLED"
    assert state_of(http, run)["message"].startswith("Stopped after 0 of 3 shops")
    worker = start()
    again = create_run(http, slow_job, batches=1, seconds=0)
    await becomes(lambda: state_of(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_sync_waiting_for_shopify_stops_and_the_next_run_completes(
    http: httpx.Client, start: Callable[..., Worker], simulator: Simulator
) -> None:
    for shop in simulator.shops.values():
        shop.faults.set(Fault(FaultKind.SERVER_ERROR, remaining=None))
    sync = deployment_id(http, "sync-inventory")
    worker = start()
    run = create_run(http, sync)
    await becomes(lambda: bool(tasks_of(http, run)))
    assert worker.stop() == 0
    assert state_of(http, run)["type"] == "CANCELLED"
    # How many shops had used up their tries by then is Shopify's pace; that none was done is what counts.
    assert re.match(r"Stopped after [0-2] of 3 shops: nothing done\.", state_of(http, run)["message"])
    for shop in simulator.shops.values():
        shop.faults.set(Fault(FaultKind.SERVER_ERROR, remaining=0))
    worker = start()
    again = create_run(http, sync)
    await becomes(lambda: state_of(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_run_cancelled_in_the_ui_ends_and_its_worker_continues(
    http: httpx.Client, start: Callable[..., Worker], slow_job: str
) -> None:
    worker = start()
    run = create_run(http, slow_job, batches=10_000, seconds=0.1)
    await becomes(lambda: bool(tasks_of(http, run)))
    set_state(http, run, "CANCELLING")
    await becomes(lambda: state_of(http, run)["type"] == "CANCELLED")
    again = create_run(http, slow_job, batches=1, seconds=0)
    await becomes(lambda: state_of(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_run_that_does_not_stop_in_time_is_cancelled_with_its_worker(
    http: httpx.Client, start: Callable[..., Worker], slow_job: str
) -> None:
    worker = start(patience=1)
    run = create_run(http, slow_job, batches=1, seconds=600)
    await becomes(lambda: bool(tasks_of(http, run)))
    assert worker.stop() == 0
    assert state_of(http, run)["type"] == "CANCELLED"
    assert "before this run came to the end of a batch" in state_of(http, run)["message"]


async def test_run_killed_with_its_worker_is_crashed_and_the_next_run_completes(
    http: httpx.Client, start: Callable[..., Worker], slow_job: str
) -> None:
    worker = start()
    with hastened(http, "Mark runs whose process died"):
        run = create_run(http, slow_job, batches=1, seconds=600)
        await becomes(lambda: bool(tasks_of(http, run)))
        worker.kill()
        assert state_of(http, run)["type"] == "RUNNING"
        await becomes(lambda: state_of(http, run)["type"] == "CRASHED")
    worker = start()
    again = create_run(http, slow_job, batches=1, seconds=0)
    await becomes(lambda: state_of(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


def progress_of(http: httpx.Client, run: str) -> list[float]:
    query = {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": ["progress"]}}}
    return [each["data"] for each in post(http, "/artifacts/filter", query)]
