"""The same flows on threads and on a Dask cluster."""

from typing import Any

import pytest
from prefect import State, flow
from prefect.states import Cancelled

from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from flows.runtime.job import run_batches, task_runner
from flows.sync_inventory import sync_inventory
from tasks.runtime.retries import task
from tests.support.prefect_artifacts import table_of, tasks_of
from tests.support.slow_job import has_begun, slow_job
from wishcraft.domain.work_results import WorkResult
from wishcraft.reports.page import short_name
from wishcraft.settings import JobSettings

pytestmark = pytest.mark.usefixtures("prefect_server", "worker_environment", "demo")
SHOP = "maple-and-pine.myshopify.com"
BROKEN = "lumiere-maison.myshopify.com"


@pytest.mark.deep
async def test_job_on_a_local_dask_cluster_isolates_shops_and_retries_as_on_threads(simulator: Simulator) -> None:
    on_dask = sync_inventory.with_options(task_runner=task_runner(JobSettings(task_runner="dask")))
    simulator.shops[BROKEN].faults.set(Fault(FaultKind.EXPIRED_TOKEN, remaining=None))
    client_tries = 4
    simulator.shops[SHOP].faults.set(Fault(FaultKind.MALFORMED, remaining=client_tries))
    state: State[Any] = await on_dask(return_state=True)
    assert state.is_failed()
    assert "Shopify does not accept" in str(state.message)
    rows = {row["shop"]: row for row in await table_of(state)}
    assert rows[short_name(SHOP)]["problem"] == "none"
    assert rows[short_name(SHOP)]["tries"] == 2
    assert rows[short_name(BROKEN)]["problem"].startswith("Shopify does not accept")


async def test_batch_whose_task_prefect_cancelled_fails_alone() -> None:
    @task("work")
    async def work(names: list[str]) -> Any:
        return Cancelled(message="by hand") if names == ["a"] else [WorkResult(name, {"done": 1}) for name in names]

    @flow
    async def calling() -> list[WorkResult]:
        return await run_batches(work, [["a"], ["b", "c"]])

    cancelled, *done = await calling()
    assert (cancelled.name, cancelled.counts) == ("a", {})
    assert "ended as Cancelled: by hand" in cancelled.problem
    assert [(each.name, each.counts, each.problem) for each in done] == [(name, {"done": 1}, "") for name in "bc"]


async def test_run_that_times_out_ends_and_its_tasks_end_at_their_next_batch() -> None:
    has_begun.clear()
    for limit in (3, 15, 60):  # on a busy machine, the first may end before its tasks begin
        timed = slow_job.with_options(timeout_seconds=limit)
        state: State[Any] = await timed(batches=10_000, seconds=0.1, return_state=True)
        assert state.name == "TimedOut"
        if has_begun.is_set():
            break
    assert await tasks_of(state, "sleep")
