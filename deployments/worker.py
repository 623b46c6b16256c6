"""The worker that runs the flows, here and in production: `python -m deployments.worker [--patience SECONDS]`.

Prefect's own kills its runs when it is told to end, and leaves them Running for good (last seen with Prefect 3.9.1).
This one, on SIGTERM or SIGINT, takes no more runs, asks those under way to end at their next batch, waits, cancels what
is left, and exits with 0.
"""

import argparse
import asyncio
import logging
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import httpx
import psutil
from anyio.abc import TaskStatus
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Running
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from deployments.prefect_setup import POOL
from tasks.runtime.progress import STOPPING
from wishcraft.errors import ConfigurationError
from wishcraft.observability.logs import formatter, install_redaction, writes_json
from wishcraft.observability.sentry import start_sentry
from wishcraft.settings import Settings, settings

PATIENCE_SECONDS: Final = 30.0
HEARTBEAT_SECONDS: Final = 30
"""Of each run, so that a dead one is noticed; `deployments.automations` waits for three of them."""
_OF_THE_RUNS: Final = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_LOGGING_EXTRA_LOGGERS": "wishcraft",  # what the core logs shows in the run's logs
}
_JSON_LINES: Final = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "wishcraft.observability.logs.JsonFormatter",
    "PREFECT_LOGGING_FORMATTERS_JSON_FORMAT": "%(message)s",
}
_LOOK_SECONDS: Final = 0.5
_LAST_SECONDS: Final = 5.0
_log: Final = logging.getLogger("prefect.deployments.worker")
"""Below `prefect`, whose lines are shown from INFO on."""


class DrainingWorker(ProcessWorker):
    """A process worker that knows its runs, and can bring them to an end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._under_way: set[UUID] = set()
        self._draining = False

    @classmethod
    def __dispatch_key__(cls) -> str:
        return "process, draining"  # the work pool's type, "process", stays the name of Prefect's own

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Take the runs that are due, unless this worker is on its way out."""
        return [] if self._draining else await super().get_and_submit_flow_runs()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run it in a process of its own; returns when that has ended."""
        self._under_way.add(flow_run.id)
        try:
            return await super().run(flow_run, configuration, task_status)
        finally:
            self._under_way.discard(flow_run.id)

    async def drain(self, patience: float) -> None:
        """Take no more runs, and bring those under way to an end within `patience` seconds, or else end them."""
        self._draining = True
        deadline = time.monotonic() + patience
        while self._under_way and time.monotonic() < deadline:
            await self._for_each_run(self._ask_to_stop)
            await asyncio.sleep(_LOOK_SECONDS)
        if self._under_way:
            await self._for_each_run(self._cancel)
            for process in psutil.Process().children(recursive=True):
                process.kill()

    async def _for_each_run(self, act: Callable[[FlowRun], Awaitable[None]]) -> None:
        for run_id in list(self._under_way):
            try:
                async with asyncio.timeout(_LAST_SECONDS):
                    await act(await self.client.read_flow_run(run_id))
            except (httpx.HTTPError, TimeoutError) as error:
                self._logger.warning("Prefect does not answer about run %s: %r", run_id, error)

    async def _ask_to_stop(self, run: FlowRun) -> None:
        if run.state and run.state.is_running() and run.state.name != STOPPING:
            message = "The worker is being stopped; this run ends at its next batch."
            await self.client.set_flow_run_state(run.id, Running(name=STOPPING, message=message))

    async def _cancel(self, run: FlowRun) -> None:
        if run.state and not run.state.is_final():
            message = "The worker was stopped before this run came to the end of a batch; what it has written stands."
            await self.client.set_flow_run_state(run.id, Cancelled(message=message), force=True)


async def work(name: str, patience: float) -> None:
    """Run the pool's flow runs until a signal comes, then drain."""
    worker = DrainingWorker(POOL, name=name, create_pool_if_not_found=False)
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    working = asyncio.create_task(worker.start(printer=_log.info))
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not asked.is_set():
        waiting.cancel()
        return working.result()
    await worker.drain(patience)
    working.cancel()
    await asyncio.wait({working}, timeout=_LAST_SECONDS)
    return None


def _report_and_log(config: Settings) -> None:
    """Let this process and the runs, which are its children, report errors and log as LOG_FORMAT says."""
    install_redaction()
    start_sentry(config, "worker")
    for handler in logging.getLogger().handlers:  # Prefect's
        handler.setFormatter(formatter(config))
    os.environ.update({name: os.environ.get(name, value) for name, value in _OF_THE_RUNS.items()})
    if writes_json(config):
        os.environ.update(_JSON_LINES)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description=__doc__)
    parser.add_argument("--name", default=platform.node(), help="how the Prefect UI calls it; default: the host's name")
    parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, help="seconds that a stop leaves to runs")
    arguments = parser.parse_args()
    try:
        _report_and_log(settings())
    except ConfigurationError as error:
        sys.exit(f"The worker cannot start. {error}")
    asyncio.run(work(arguments.name, arguments.patience))


if __name__ == "__main__":
    main()
