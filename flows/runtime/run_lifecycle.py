"""How a job's runs report themselves: errors once and with their stack, ends as metrics, schedules as check-ins."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import httpx
from prefect import Flow, State, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Failed

from tasks.runtime.retries import problem_of
from tasks.runtime.run_context import run_context
from tasks.runtime.ui_links import run_page
from wishcraft.errors import ConfigurationError, QuestionRefused, RunStopped
from wishcraft.observability import sentry
from wishcraft.observability.context import log_context
from wishcraft.resources import open_resources
from wishcraft.settings import settings

START_MINUTES: Final = 5
"""A scheduled run that has not begun so long after its time counts as missed."""
RUN_MINUTES: Final = 60
"""A run that has not ended by then counts as failed; it goes on all the same."""
_told: Final = set[UUID]()
"""The runs of this process that came as far as their work, and were reported there if it failed."""
_OUTCOMES: Final = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLED: "cancelled",
    StateType.CANCELLING: "cancelled",
}


async def with_lifecycle(work: Callable[[], Awaitable[State[Any]]]) -> State[Any]:
    """Do a run's work; an error that ends it is reported, and becomes its state, without what is not to be told."""
    try:
        with run_context(), sentry.isolated(), sentry.traced("job", _running()[0].name):
            state = await _attempt(work)
    except ConfigurationError as error:  # nothing can be reported
        get_run_logger().error("The run could not begin", exc_info=error)
        state = Failed(message=problem_of(error))
    if state.is_cancelled():  # Prefect has no hook for a run that ends so by itself
        await end_run(*_running(), state)
    return state


async def end_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Count the end of a run, and report what nobody else has: that it died, took too long or could not begin.

    Prefect calls it in the run's own process, or in the worker's if that has died.
    """
    job, outcome = flow.name, _OUTCOMES[state.type]
    sentry.start_sentry(settings(), "job")
    run = str(flow_run.id)
    with log_context(job=job, run=flow_run.name, run_id=run, run_url=run_page(run)), sentry.isolated():
        if outcome == "crashed" or (outcome == "failed" and flow_run.id not in _told):
            sentry.capture_message(f"{job} {outcome}: {state.message}")
        if flow_run.auto_scheduled:
            sentry.check_in(job, flow_run.id, "error" if outcome in {"failed", "crashed"} else "ok")
        await asyncio.to_thread(sentry.flush)
    async with open_resources() as resources:
        counters = resources.counters
        if outcome == "cancelled" and not await counters.is_first(f"cancelled:{run}"):
            return  # it ended by itself just when its worker was about to kill it: both tell
        counters.count("job_runs_total", job=job, outcome=outcome)
        if flow_run.start_time:
            counters.observe("job_seconds", (datetime.now(UTC) - flow_run.start_time).total_seconds(), job=job)
        if outcome == "completed":
            counters.set("job_last_success_timestamp_seconds", datetime.now(UTC).timestamp(), job=job)


async def _attempt(work: Callable[[], Awaitable[State[Any]]]) -> State[Any]:
    flow, run = _running()
    if run.auto_scheduled:
        sentry.check_in(flow.name, run.id, "in_progress", await _schedule(run))
    try:
        state = await work()
    except QuestionRefused as error:  # the asker's to mend: nobody on call has to look at it
        state = Cancelled(name="Refused", message=problem_of(error))
    except RunStopped:
        state = Cancelled(message="The run was stopped; nothing is half-done.")
    except Exception as error:  # noqa: BLE001  whatever it is, it ends the run
        get_run_logger().error("The run failed", exc_info=error)
        sentry.capture_error(error)
        state = Failed(message=problem_of(error))
    _told.add(run.id)
    return state


def _running() -> tuple[Flow[..., Any], FlowRun]:
    context = FlowRunContext.get()
    if context is None or context.flow is None or context.flow_run is None:
        raise RuntimeError("only a run is reported")
    return context.flow, context.flow_run


async def _schedule(run: FlowRun) -> sentry.MonitorSchedule | None:
    """When the run's deployment is to run; None if nothing says so, or Prefect does not."""
    if run.deployment_id is None:
        return None
    with suppress(httpx.HTTPError):
        async with get_client() as client:
            deployment = await client.read_deployment(run.deployment_id)
        crons = [each.schedule for each in deployment.schedules if isinstance(each.schedule, CronSchedule)]
        if crons:
            return sentry.MonitorSchedule(crons[0].cron, crons[0].timezone or "UTC", START_MINUTES, RUN_MINUTES)
    return None
