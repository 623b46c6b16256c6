"""`python -m deployments.worker [--patience SECONDS]`: the Prefect worker that runs the flows.

On SIGTERM or SIGINT it takes no more runs, asks its runs to stop at their next batch, waits, cancels the remaining ones
and exits with 0. Prefect's own worker kills its runs and leaves them Running forever (seen with Prefect 3.9.1).
"""

import wishcraft.interrupts  # noqa: F401  it must be the first import

# isort: split
import argparse
import asyncio
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final
from uuid import UUID

import httpx
import psutil
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.exceptions import ObjectNotFound
from prefect.logging.loggers import PrefectLogAdapter
from prefect.settings import PREFECT_WORKER_QUERY_SECONDS
from prefect.states import Cancelled, Running
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from deployments.argument_types import seconds
from deployments.flow_run_process import FlowRunConfiguration, is_needed, log_variables
from deployments.forked_run import start_fork_server
from deployments.prefect_setup import refused_login_named, require_server
from deployments.superseded_runs import cancel_superseded
from tasks.runtime.failure_summary import summarise_failure
from tasks.runtime.progress import STOPPING
from tasks.runtime.retries import advice_for, problem_of
from tasks.runtime.retry_after import bound_retry_after
from wishcraft.errors import ConfigurationError, QueryRefused
from wishcraft.observability.logs import formatter, install_redaction
from wishcraft.observability.sentry import start_sentry
from wishcraft.services.operations.prefect_api import POOL
from wishcraft.settings import Settings, settings

PATIENCE_SECONDS: Final = 30.0
HEARTBEAT_SECONDS: Final = 30
"""Heartbeat interval of a run. `deployments.automations` crashes a run after three missing heartbeats."""
_RUN_VARIABLES: Final = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_LOGGING_EXTRA_LOGGERS": "wishcraft",  # shows the core's logs in the run's logs
}
MAX_BACKOFF_SECONDS: Final = 5.0
"""Longest pause that `Outage` adds to a poll interval below it."""
_TOO_MANY_REQUESTS: Final = 429
_POLL_SECONDS: Final = 0.5
_REQUEST_SECONDS: Final = 5.0
_PREFECT_START_SECONDS: Final = 20.0
"""A Prefect that starts together with the worker answers by then."""
_log: Final = logging.getLogger("prefect.deployments.worker")
"""A child of the logger `prefect`, which logs from INFO."""


def is_outage(error: BaseException) -> bool:
    """Whether Prefect, or a proxy before it, does not answer as it should; not so a wrong password or pool."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error or error.response.status_code == _TOO_MANY_REQUESTS
    # A ValueError is an answer that is not Prefect's JSON.
    return isinstance(error, (httpx.RequestError, TimeoutError, ValueError))


@contextmanager
def outage_ignored() -> Iterator[None]:
    """Context manager: end the block where Prefect does not answer; the next poll logs it, if it lasts."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise


class Outage:
    """How long Prefect has not answered: logs its begin and its end once, and makes the polls rarer.

    It adds a pause to the usual interval of the polls: as long at first, then doubled up to `MAX_BACKOFF_SECONDS`.
    """

    def __init__(self, interval: float) -> None:
        """`interval` is the usual time between two polls in seconds."""
        self._interval = interval
        self._since: float | None = None
        self._pause = interval

    def begin(self, error: Exception) -> None:
        """Prefect did not answer a request."""
        if self._since is None:
            self._since = time.monotonic()
            _log.error("Prefect does not answer; the worker keeps trying. Runbook: worker-idle. %s", _summary(error))

    async def wait(self, error: Exception) -> None:
        """Prefect did not answer a poll: wait before the next one."""
        self.begin(error)
        await asyncio.sleep(self._pause)
        self._pause = max(self._interval, min(2 * self._pause, MAX_BACKOFF_SECONDS))

    def end(self) -> None:
        """Prefect answered a poll."""
        if self._since is not None:
            _log.warning("Prefect answers again, after %.0f s", time.monotonic() - self._since)
        self._since, self._pause = None, self._interval


class WaitingRunLogger(PrefectLogAdapter):
    """Logger of a run that waits for its turn: every poll would log the same lines about it."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  name set by logging
        """Whether the level is above INFO, and enabled."""
        return level > logging.INFO and super().isEnabledFor(level)


def _summary(error: Exception) -> str:
    """The error in a line."""
    if isinstance(error, httpx.HTTPStatusError):
        return f"Status {error.response.status_code} of {error.request.url}"
    return f"{type(error).__name__}: {error}".partition("\n")[0]


class DrainingWorker(ProcessWorker):
    """A process worker that outlives outages of Prefect and can stop its runs at their next batch.

    It takes no command from Prefect's database.
    """

    job_configuration = FlowRunConfiguration

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._active_runs: set[UUID] = set()
        self._draining = False
        self._outage = Outage(_poll_interval())

    @classmethod
    def __dispatch_key__(cls) -> str:
        return "process, draining"  # the name "process" belongs to Prefect's own worker

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Take the runs that are due; none while draining, and none while Prefect does not answer.

        Twelve errors in a row would end Prefect's own worker, and with it all runs. Before its first successful
        `sync_with_backend`, a worker polls without asking Prefect.
        """
        if self._draining:
            return []
        try:
            taken = await super().get_and_submit_flow_runs()
        except Exception as error:
            if not is_outage(error):
                raise
            await self._outage.wait(error)
            return []
        if self._has_successfully_synced:
            self._outage.end()
        return taken

    async def sync_with_backend(self) -> None:
        """Read the pool and send a heartbeat; if Prefect does not answer, the next call does both."""
        try:
            await super().sync_with_backend()
        except Exception as error:
            if not is_outage(error):
                raise
            self._outage.begin(error)

    def get_flow_run_logger(self, flow_run: FlowRun) -> PrefectLogAdapter:
        """The logger of a run; what Prefect logs when it begins to wait for its turn is not repeated."""
        logger = super().get_flow_run_logger(flow_run)
        return WaitingRunLogger(logger.logger, logger.extra) if _waits(flow_run) else logger

    async def _submit_scheduled_flow_runs(self, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        """Take the runs, but for those that are superseded, and those that wait for their turn and ask again later."""
        now = datetime.now(UTC)
        runs = [each.flow_run for each in flow_run_response if each.flow_run.id not in self._submitting_flow_run_ids]
        superseded = await cancel_superseded(self.client, runs)
        due = [
            each
            for each in flow_run_response
            if each.flow_run.id not in superseded
            and not (_waits(each.flow_run) and (each.flow_run.next_scheduled_start_time or now) > now)
        ]
        return await super()._submit_scheduled_flow_runs(due)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """Start the run; if Prefect does not answer, the run stays scheduled, and a later poll takes it again.

        So does each run that was taken just before the drain. If only the answer to its change to Pending is lost, it
        stays Pending, and an automation crashes it.
        """
        try:
            if not self._draining:
                with outage_ignored():
                    await super()._submit_run(flow_run)
        finally:
            self._submitting_flow_run_ids.discard(flow_run.id)

    async def _cancel_run(self, flow_run_id: UUID) -> None:
        """Cancel a run that has not started; if Prefect does not answer, an automation cancels it."""
        with outage_ignored():
            await super()._cancel_run(flow_run_id)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run the flow in a process and wait until it exits; refuse a run that lacks its parameters or has others."""
        assert isinstance(configuration, FlowRunConfiguration)  # noqa: S101  the class's own configuration
        if refusal := configuration.refusal:
            await self._refuse(flow_run, refusal)
            (task_status or TASK_STATUS_IGNORED).started(0)  # no process, which Prefect would log as an error
            return ProcessWorkerResult(status_code=0, identifier="none")
        self._active_runs.add(flow_run.id)
        try:
            return await configuration.execute(flow_run, task_status or TASK_STATUS_IGNORED)
        finally:
            self._active_runs.discard(flow_run.id)

    async def _refuse(self, flow_run: FlowRun, refusal: QueryRefused) -> None:
        """End the run as Refused, with its reason, and count it as a run that its flow refuses."""
        problem, flow = problem_of(refusal), await self.client.read_flow(flow_run.flow_id)
        await summarise_failure(flow.name, flow_run.id, problem, advice_for(refusal), end="refused")
        state: State[Any] = Cancelled(name="Refused", message=problem)
        try:  # 46 MiB, which a worker seldom needs, and half a second
            lifecycle = await asyncio.to_thread(import_module, "flows.runtime.run_lifecycle")
            await lifecycle.record_end(flow.name, flow_run, state)
        finally:
            await self.client.set_flow_run_state(flow_run.id, state)

    async def drain(self, patience: float, poll_seconds: float = _POLL_SECONDS) -> None:
        """Take no more runs, wait up to `patience` seconds for active runs to stop, then cancel and kill them.

        A run that is being started is Pending in Prefect: it becomes active first.
        """
        self._draining = True
        deadline = time.monotonic() + patience
        while (self._active_runs or self._submitting_flow_run_ids) and time.monotonic() < deadline:
            await self._for_each_run(self._ask_to_stop)
            await asyncio.sleep(poll_seconds)
        if self._active_runs:
            await self._for_each_run(self._cancel)
            for process in psutil.Process().children(recursive=True):
                process.kill()

    async def _for_each_run(self, act: Callable[[FlowRun], Awaitable[None]]) -> None:
        """Act on all active runs and their steps, all runs at once: each would add to the wait for a silent Prefect."""

        async def act_on(run_id: UUID) -> None:
            try:
                async with asyncio.timeout(_REQUEST_SECONDS):
                    for run in (await self.client.read_flow_run(run_id), *await self._find_steps(run_id)):
                        await act(run)
            except Exception as error:  # noqa: BLE001  the other runs are asked and killed after any error
                self._logger.warning("Prefect did not accept the stop of run %s: %r", run_id, error)

        await asyncio.gather(*map(act_on, self._active_runs))

    async def _find_steps(self, run_id: UUID) -> list[FlowRun]:
        """The run's steps that are Running: those of a backfill are runs of their own, in its process."""
        running = {"parent_flow_run_id": {"any_": [run_id]}, "state": {"type": {"any_": [StateType.RUNNING]}}}
        return await self.client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(running))

    async def _ask_to_stop(self, run: FlowRun) -> None:
        """Ask the run to stop, or leave it as it ended meanwhile: Prefect lets an ended run go on, forever."""
        if run.state and run.state.is_running() and run.state.name != STOPPING:
            message = "The worker is stopping; this run ends at its next batch."
            await self.client.set_flow_run_state(run.id, Running(name=STOPPING, message=message))
            *_, before, last = await self.client.read_flow_run_states(run.id)
            if before.is_final() and last.name == STOPPING:
                await self.client.set_flow_run_state(run.id, before, force=True)

    async def _cancel(self, run: FlowRun) -> None:
        if run.state and not run.state.is_final():
            message = "The worker stopped before this run finished its batch. Committed work is kept."
            await self.client.set_flow_run_state(run.id, Cancelled(message=message), force=True)


async def wait_for_pool(
    interval: float,
    *,
    pool: str = POOL,
    request_seconds: float = _REQUEST_SECONDS,
    start_seconds: float = _PREFECT_START_SECONDS,
) -> None:
    """Return once Prefect has the pool: a worker that starts before looks for it again only after half a minute."""
    outage, is_missing, deadline = Outage(interval), False, time.monotonic() + start_seconds
    async with get_client() as client:
        while True:
            try:
                async with asyncio.timeout(request_seconds):  # the client may wait longer for its own next try
                    await client.read_work_pool(pool)
                return outage.end()
            except ObjectNotFound:
                outage.end()
                if not is_missing:
                    _log.warning("There is no work pool %s yet: `python -m deployments.prefect_setup` creates it", pool)
                is_missing = True
            except Exception as error:
                if not is_outage(error):
                    raise
                if time.monotonic() > deadline:
                    outage.begin(error)
            await asyncio.sleep(interval)


def _waits(run: FlowRun) -> bool:
    """Whether Prefect has refused to start the run because another one of its deployment is active."""
    return run.state_name == "AwaitingConcurrencySlot"


async def work(name: str, patience: float) -> None:
    """Run the pool's flow runs until SIGTERM or SIGINT, then drain. Raises as `refused_login_named`."""
    worker = DrainingWorker(POOL, name=name, create_pool_if_not_found=False)
    stop_requested = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_requested.set)
    working = asyncio.create_task(_start(worker))
    waiting = asyncio.create_task(stop_requested.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not stop_requested.is_set():
        waiting.cancel()
        return working.result()
    await worker.drain(patience)
    working.cancel()
    await asyncio.wait({working}, timeout=_REQUEST_SECONDS)
    return None


async def _start(worker: DrainingWorker) -> None:
    with refused_login_named():
        await wait_for_pool(_poll_interval())
    await worker.start(printer=_log.info)


def _poll_interval() -> float:
    return float(PREFECT_WORKER_QUERY_SECONDS.value())


def _configure_process(config: Settings) -> None:
    """Configure Sentry, Prefect's clients and the log format for this process and, by variables, for its runs.

    Drops the variables that no run needs: a run's process begins with those of this one.
    """
    install_redaction()
    bound_retry_after()
    start_sentry(config, "worker")
    for handler in logging.getLogger().handlers:  # Prefect's
        handler.setFormatter(formatter(config))
    os.environ.update({name: os.environ.get(name, value) for name, value in _RUN_VARIABLES.items()})
    os.environ.update(log_variables(config))
    for name in [each for each in os.environ if not is_needed(each, config)]:
        del os.environ[name]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description=__doc__)
    parser.add_argument("--name", default=platform.node(), help="name in the Prefect UI (default: the host name)")
    parser.add_argument(
        "--patience", type=seconds, default=PATIENCE_SECONDS, help="seconds to wait for active runs at a stop"
    )
    arguments = parser.parse_args()
    try:
        require_server()
        _configure_process(settings())
        start_fork_server()
        asyncio.run(work(arguments.name, arguments.patience))
    except ConfigurationError as error:
        sys.exit(f"The worker cannot start. {error}")


if __name__ == "__main__":
    main()
