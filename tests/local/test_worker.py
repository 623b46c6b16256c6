"""The worker with real runs: a stop ends them at a batch, and its death blocks no other run."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.prefect_automations import wait_for_end_without_a_sign_of_life
from tests.support.prefect_calls import (
    create_run,
    deployment_id,
    post,
    read_state,
    running_shop_tasks,
    set_state,
    wait_for,
)
from tests.support.prefect_worker import Worker

pytestmark = [pytest.mark.chaos, pytest.mark.long, pytest.mark.usefixtures("demo")]


async def test_stopped_worker_ends_its_run_at_the_next_batch(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches=10_000, seconds=0.1)
    await wait_for(lambda: any(data > 0 for data in read_progress(http, run)))
    assert worker.stop() == 0
    assert read_state(http, run)["type"] == "CANCELLED"
    assert read_state(http, run)["message"].startswith("Stopped after 0 of 3 shops")
    worker = start_worker()
    again = create_run(http, slow_job, batches=1, seconds=0)
    await wait_for(lambda: read_state(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_sync_waiting_for_shopify_stops_and_the_next_run_completes(
    http: httpx.Client, start_worker: Callable[..., Worker], simulator: Simulator
) -> None:
    for shop in simulator.shops.values():
        shop.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=None))
    sync = deployment_id(http, "sync-inventory")
    worker = start_worker()
    run = create_run(http, sync)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    assert worker.stop() == 0
    assert read_state(http, run)["type"] == "CANCELLED"
    # The number of shops without tries left depends on timing; what counts is that none was done.
    what_was_done = r"(nothing done|\d+ seconds of waiting for Shopify)\."
    assert re.match(rf"Stopped after [0-2] of 3 shops: {what_was_done}$", read_state(http, run)["message"])
    for shop in simulator.shops.values():
        shop.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=0))
    worker = start_worker()
    again = create_run(http, sync)
    await wait_for(lambda: read_state(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_stopped_worker_ends_a_backfill_and_its_step_at_the_next_batch(
    http: httpx.Client, start_worker: Callable[..., Worker], simulator: Simulator
) -> None:
    def find_steps() -> list[dict[str, Any]]:
        query = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
        return list(post(http, "/flow_runs/filter", query))

    for shop in simulator.shops.values():
        shop.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=None))
    worker = start_worker()
    run = create_run(http, deployment_id(http, "backfill"), job="sync-inventory", dry_run=False)
    await wait_for(lambda: any(step["state"]["type"] == "RUNNING" for step in find_steps()))
    assert worker.stop() == 0
    ended = [read_state(http, run), *(step["state"] for step in find_steps())]
    assert [state["type"] for state in ended] == ["CANCELLED", "CANCELLED"]
    assert ended[0]["message"].startswith("Stopped after 0 of 3 steps: ")
    assert ended[1]["message"].startswith("Stopped after 0 of 1 shop: ")


async def test_run_cancelled_in_the_ui_ends_and_its_worker_continues(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches=10_000, seconds=0.1)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    set_state(http, run, "CANCELLING")
    await wait_for(lambda: read_state(http, run)["type"] == "CANCELLED")
    again = create_run(http, slow_job, batches=1, seconds=0)
    await wait_for(lambda: read_state(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_run_that_does_not_stop_in_time_is_cancelled_with_its_worker(
    http: httpx.Client, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker(patience=1)
    run = create_run(http, slow_job, batches=1, seconds=600)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    assert worker.stop() == 0
    assert read_state(http, run)["type"] == "CANCELLED"
    assert "before this run finished its batch" in read_state(http, run)["message"]


async def test_run_killed_with_its_worker_is_crashed_and_the_next_run_completes(
    http: httpx.Client, prefect_database: str, start_worker: Callable[..., Worker], slow_job: str
) -> None:
    worker = start_worker()
    run = create_run(http, slow_job, batches=1, seconds=600)
    await wait_for(lambda: bool(running_shop_tasks(http, run)))
    worker.kill()
    assert read_state(http, run)["type"] == "RUNNING"
    assert wait_for_end_without_a_sign_of_life(http, prefect_database, run)["type"] == "CRASHED"
    worker = start_worker()
    again = create_run(http, slow_job, batches=1, seconds=0)
    await wait_for(lambda: read_state(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


def read_progress(http: httpx.Client, run: str) -> list[float]:
    query = {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": ["progress"]}}}
    return [each["data"] for each in post(http, "/artifacts/filter", query)]
