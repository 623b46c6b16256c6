"""Start and end of a job's runs: errors go to Sentry once, ends become metrics, scheduled runs become check-ins."""

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
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Failed

from tasks.runtime.failure_summary import CRASH_ADVICE, summarise_failure
from tasks.runtime.retries import advice_for, problem_of
from tasks.runtime.run_context import current_run, run_context
from tasks.runtime.ui_links import run_page
from wishcraft.cache.counters import RUN_OUTCOMES
from wishcraft.errors import ConfigurationError, QueryRefused, RunStopped
from wishcraft.observability import sentry
from wishcraft.observability.context import known_secrets, log_context
from wishcraft.observability.redaction import redact_text
from wishcraft.resources import open_resources
from wishcraft.settings import settings

CHECK_IN_MARGIN_MINUTES: Final = 5
"""A scheduled run that starts later than this after its time is missed, for Sentry."""
MAX_RUN_MINUTES: Final = 60
"""A longer run is failed, for Sentry; the run itself continues."""
_reported_runs: Final = set[UUID]()
"""Runs of this process whose work ended; if it failed, `_run_work` has reported the error."""
_REFUSED: Final = "Refused"
"""Name of the state of a run with a wrong parameter."""
_PARTIAL: Final = ("shops", "domains", "selectors", "dry_run", "today", "first_day", "last_day", "until")
"""Parameters of a run that does not do all that a scheduled run of its job does; so is `repair` if it is off."""
_OUTCOMES: Final = {
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLED: "cancelled",
    StateType.CANCELLING: "cancelled",
}


async def with_lifecycle(work: Callable[[], Awaitable[State[Any]]]) -> State[Any]:
    """Do a run's work and return its final state; an error is reported to Sentry and becomes a redacted message."""
    try:
        with run_context(), sentry.traced("job", lambda: current_run()[0].name):
            state = await _run_work(work)
    except ConfigurationError as error:  # Sentry may not be set up
        get_run_logger().error("The run could not start", exc_info=error)
        state = Failed(message=problem_of(error))
        flow, run = current_run()
        await summarise_failure(flow.name, run.id, problem_of(error), advice_for(error))
    if state.is_cancelled():  # Prefect calls no hook for a run that returns a Cancelled state
        await on_run_end(*current_run(), state)
    return state


async def on_run_end(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Call `record_end`: a hook of Prefect, in the run's process, or in the worker's if the run's process died."""
    await record_end(flow.name, flow_run, state)


async def record_end(job: str, flow_run: FlowRun, state: State[Any]) -> None:
    """Count the end of a run, and report a crash, a timeout or a failed start to Sentry."""
    outcome = "refused" if state.name == _REFUSED else _OUTCOMES[state.type]
    sentry.start_sentry(settings(), "job")
    run_id = str(flow_run.id)
    with log_context(job=job, run=flow_run.name, run_id=run_id, run_url=run_page(run_id)), sentry.isolated():
        if outcome == "crashed" or (outcome == "failed" and flow_run.id not in _reported_runs):
            sentry.capture_message(f"{job} {outcome}: {state.message}")
            problem = redact_text(state.message or outcome, known_secrets()).partition("\n")[0]
            await summarise_failure(job, flow_run.id, problem, CRASH_ADVICE)
        if flow_run.auto_scheduled:
            sentry.check_in(job, flow_run.id, "error" if outcome in {"failed", "crashed"} else "ok")
        await asyncio.to_thread(sentry.flush)
    async with open_resources() as resources:
        counters = resources.counters
        is_cancelled = outcome in {"cancelled", "refused"}
        if is_cancelled and not await counters.is_first(f"cancelled:{run_id}"):
            return  # both the run and the worker that cancels it call this
        for each in RUN_OUTCOMES:  # Prometheus sees an increase only from a value: the others get 0
            counters.count("job_runs_total", by=each == outcome, job=job, outcome=each)
        if flow_run.start_time:
            counters.observe("job_seconds", (datetime.now(UTC) - flow_run.start_time).total_seconds(), job=job)
        # The alert JobStale is about scheduled runs: a new shop's first sync must not hide that all others fail.
        is_partial = any(map(flow_run.parameters.get, _PARTIAL)) or not flow_run.parameters.get("repair", True)
        if outcome == "completed" and not is_partial:
            counters.set("job_last_success_timestamp_seconds", datetime.now(UTC).timestamp(), job=job)


async def _run_work(work: Callable[[], Awaitable[State[Any]]]) -> State[Any]:
    flow, run = current_run()
    if run.auto_scheduled:
        sentry.check_in(flow.name, run.id, "in_progress", await _schedule(run))
    try:
        state = await work()
    except QueryRefused as error:  # a wrong parameter: the message is for the person who started the run
        state = Cancelled(name=_REFUSED, message=problem_of(error))
        await summarise_failure(flow.name, run.id, problem_of(error), advice_for(error), end="refused")
    except RunStopped:
        state = Cancelled(message="The run was stopped between two batches.")
    except Exception as error:  # noqa: BLE001  any error ends the run as Failed
        if termination := _termination_behind(error):
            raise termination from None
        get_run_logger().error("The run failed", exc_info=error)
        sentry.capture_error(error)
        state = Failed(message=problem_of(error))
        await summarise_failure(flow.name, run.id, problem_of(error), advice_for(error))
    _reported_runs.add(run.id)
    return state


def _termination_behind(error: BaseException) -> TerminationSignal | None:
    """The SIGTERM that `error` hides: Prefect raises a ValueError for one that comes while it makes a task run."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, TerminationSignal):
            return behind
        behind = behind.__context__
    return None


async def _schedule(run: FlowRun) -> sentry.MonitorSchedule | None:
    """The cron schedule of the run's deployment; None if it has none or Prefect does not answer."""
    if run.deployment_id is None:
        return None
    with suppress(httpx.HTTPError):
        async with get_client() as client:
            deployment = await client.read_deployment(run.deployment_id)
        crons = [each.schedule for each in deployment.schedules if isinstance(each.schedule, CronSchedule)]
        if crons:
            return sentry.MonitorSchedule(
                crons[0].cron, crons[0].timezone or "UTC", CHECK_IN_MARGIN_MINUTES, MAX_RUN_MINUTES
            )
    return None
