"""A worker that stops while it starts runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import State, flow, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Failed, Running
from prefect.workers.process import ProcessWorker

from deployments.worker import DrainingWorker
from tasks.runtime.progress import STOPPING
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


@flow
async def short() -> None:
    """A flow whose runs the test ends itself."""


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("end", [Completed(message="3 shops: 5 warmed."), Failed(message="Failed: a shop.")])
async def test_run_that_ends_while_its_worker_asks_it_to_stop_stays_as_it_ended(
    monkeypatch: pytest.MonkeyPatch, end: State[Any]
) -> None:
    stopping = DrainingWorker("any")
    async with get_client() as client:
        monkeypatch.setattr(stopping, "_client", client)
        read = await client.create_flow_run(short, state=Running())
        await client.set_flow_run_state(read.id, end)
        await stopping._ask_to_stop(read)
        ended = await client.read_flow_run(read.id)
    assert ended.state
    assert (ended.state.type, ended.state.name, ended.state.message) == (end.type, end.name, end.message)
    assert ended.end_time


@pytest.mark.usefixtures("prefect_server")
async def test_running_run_is_asked_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = DrainingWorker("any")
    async with get_client() as client:
        monkeypatch.setattr(stopping, "_client", client)
        run = await client.create_flow_run(short, state=Running())
        await stopping._ask_to_stop(run)
        assert (await client.read_flow_run(run.id)).state_name == STOPPING
        await client.delete_flow_run(run.id)


async def test_worker_asks_all_its_runs_at_once_while_prefect_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping, asked, answered, all_asked = DrainingWorker("any"), list[UUID](), set[UUID](), asyncio.Event()

    class Silent:
        """A client that gets no answer before all runs were asked about."""

        async def read_flow_run(self, run_id: UUID) -> FlowRun:
            asked.append(run_id)
            if len(asked) == len(stopping._active_runs):
                all_asked.set()
            await all_asked.wait()
            answered.add(run_id)
            return FlowRun(id=run_id, flow_id=uuid4())

        async def read_flow_runs(self, **_: object) -> list[FlowRun]:
            return []

    monkeypatch.setattr(stopping, "_client", Silent())
    stopping._active_runs |= {uuid4(), uuid4(), uuid4()}
    async with asyncio.timeout(PATIENCE_SECONDS):
        await stopping._for_each_run(stopping._ask_to_stop)
    assert answered == stopping._active_runs  # one after the other, the first would have waited in vain
    assert len(asked) == len(stopping._active_runs)
