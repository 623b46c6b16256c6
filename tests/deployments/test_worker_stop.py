"""A worker that stops while it starts runs."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessWorker

from deployments.worker import DrainingWorker
from tests.support.waiting import PATIENCE_SECONDS


async def test_worker_that_stops_waits_for_the_run_that_it_is_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping, run_id, steps = DrainingWorker("any"), uuid4(), list[str]()

    async def ask(_: Callable[[FlowRun], Awaitable[None]]) -> None:
        if run_id in stopping._submitting_flow_run_ids:
            steps.append("starts")
            stopping._active_runs.add(run_id)
            stopping._submitting_flow_run_ids.remove(run_id)
        else:
            steps.append("ends")
            stopping._active_runs.remove(run_id)

    monkeypatch.setattr(stopping, "_for_each_run", ask)
    stopping._submitting_flow_run_ids.add(run_id)
    await stopping.drain(PATIENCE_SECONDS, poll_seconds=0)
    assert steps == ["starts", "ends"]


async def test_worker_that_stops_leaves_a_run_scheduled_that_it_has_not_begun_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopping, run, submitted = DrainingWorker("any"), FlowRun(flow_id=uuid4()), list[FlowRun]()

    async def submit(_: ProcessWorker, run: FlowRun) -> None:
        submitted.append(run)

    monkeypatch.setattr(ProcessWorker, "_submit_run", submit)
    await stopping.drain(0)
    stopping._submitting_flow_run_ids.add(run.id)
    await stopping._submit_run(run)
    assert (submitted, stopping._submitting_flow_run_ids) == ([], set())
