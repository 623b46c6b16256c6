"""The automations know every way in which a run can end: otherwise they take an ended run for a dead or slow one."""

import asyncio
import re
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import State, get_client
from prefect.events.actions import DoNothing
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, exception_to_crashed_state

from deployments.automations import alert_on_slow_runs, end_dead_runs, notice_late_starts
from deployments.sandbox.processes import ROOT
from flows.runtime import run_lifecycle
from flows.runtime.job import job
from tasks.runtime.failure_summary import summarise_lost_runs
from tests.support.prefect_artifacts import artifacts_of, summary_of
from wishcraft.domain.times import from_microseconds
from wishcraft.errors import QueryRefused, RunStopped

pytestmark = pytest.mark.usefixtures("prefect_server", "demo", "worker_environment")
AUTOMATIONS = (
    *end_dead_runs(),
    notice_late_starts(),
    alert_on_slow_runs("ask", timedelta(minutes=5), lambda _: DoNothing()),
)
"""The automations that wait for the end of a run."""


@job("ending")
async def ending(kind: str) -> State[Any]:
    """A job that ends as `kind` says."""
    match kind:
        case "refused":
            raise QueryRefused("there is no such shop")
        case "stopped":
            raise RunStopped
        case "error":
            from_microseconds(10**25)
        case "timeout":
            await asyncio.Event().wait()
    return {"completed": Completed, "failed": Failed, "cancelled": Cancelled}[kind](message="done")


@job("terminated")
async def terminated() -> State[Any]:
    """A job that catches its SIGTERM: Prefect would kill this process by it."""

    async def start_a_task() -> State[Any]:
        error = ValueError("Task run is not set")  # as Prefect's engine of tasks raises it
        error.__context__ = TerminationSignal(signal=signal.SIGTERM)
        raise error

    with suppress(TerminationSignal):
        await run_lifecycle.with_lifecycle(start_a_task)
    return Completed(message="done")


def assert_known(name: str) -> None:
    """Every automation that waits for the end of a run knows a state of this name."""
    for automation in AUTOMATIONS:
        assert f"prefect.flow-run.{name}" in automation.trigger.expect, automation.name  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("completed", "Completed"),
        ("failed", "Failed"),
        ("error", "Failed"),
        ("timeout", "TimedOut"),
        ("cancelled", "Cancelled"),
        ("stopped", "Cancelled"),
        ("refused", "Refused"),
    ],
)
async def test_end_of_a_run_is_known_to_the_automations(kind: str, name: str) -> None:
    state = await ending.with_options(timeout_seconds=0.2 if kind == "timeout" else 60)(kind, return_state=True)
    assert state.is_final()
    assert state.name == name
    assert_known(name)


@pytest.mark.parametrize(
    ("kind", "problem", "advice"),
    [
        ("refused", "Refused: there is no such shop", "Change the parameters as the message says"),
        (
            "error",
            "Overflow error: ",
            "OverflowError in from_microseconds (wishcraft/domain/times.py, line ",
        ),
        ("timeout", "exceeded timeout", "then run the job again"),
    ],
)
async def test_run_that_fails_without_a_summary_gets_one_with_what_to_do(kind: str, problem: str, advice: str) -> None:
    state = await ending.with_options(timeout_seconds=0.2 if kind == "timeout" else 60)(kind, return_state=True)
    summary = await summary_of(state)
    [artifact] = await artifacts_of(state, "markdown")
    assert artifact.key == f"ending-{'refused' if kind == 'refused' else 'failed'}"  # hides no report
    assert problem in summary.partition("\n")[0]
    assert "## What to do" in summary
    assert advice in summary
    assert f"/v2/runs/flow-run/{state.state_details.flow_run_id})" in summary


async def test_run_whose_machine_died_gets_its_summary_once_from_check_invariants() -> None:
    later = datetime.now(UTC) + timedelta(minutes=2)
    async with get_client() as client:
        run = await client.create_flow_run(ending, parameters={"kind": "completed"})
        await client.set_flow_run_state(run.id, Running(), force=True)
        state: State[Any] = Crashed(message="The process of this run died.")
        await client.set_flow_run_state(run.id, state, force=True)
    assert await summarise_lost_runs(later) >= 1
    assert await summarise_lost_runs(later) == 0
    state.state_details.flow_run_id = run.id
    assert [each.key for each in await artifacts_of(state, "markdown")] == ["ending-failed"]
    summary = await summary_of(state)
    assert summary.startswith("**The process of this run died.**")
    assert "then run the job again" in summary
    assert f"/v2/runs/flow-run/{run.id})" in summary


async def test_sigterm_that_an_error_of_prefect_hides_is_no_failure_of_the_run() -> None:
    state = await terminated(return_state=True)
    assert state.is_completed()
    assert not await artifacts_of(state, "markdown")


async def test_crash_of_a_run_is_known_to_the_automations() -> None:
    state = await exception_to_crashed_state(asyncio.CancelledError())
    assert state.name
    assert_known(state.name)


def test_every_state_that_flows_name_is_known_to_the_automations() -> None:
    sources = [path.read_text() for folder in ("flows", "tasks") for path in (ROOT / folder).rglob("*.py")]
    named = {
        name for source in sources for name in re.findall(r"\b(?:Cancelled|Completed|Failed)\(name=([^,)]+)", source)
    }
    assert named == {"_REFUSED"}
    assert_known(run_lifecycle._REFUSED)
