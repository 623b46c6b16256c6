"""Start-up of the local stack, the way of a run from its trigger to Completed, and the memory of idle processes.

A row of a run is one of `webhook-sweep`, which has nothing to do: what it takes is what Prefect and the worker take.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import psutil

from deployments.sandbox.processes import ROOT, free_port
from wishcraft.errors import ConfigurationError

JOB: Final = "webhook-sweep"
RUNS: Final = 10
READY: Final = "WishCraft is ready."
_START_SECONDS: Final = 900.0
_RUN_SECONDS: Final = 120.0
_MIB: Final = 2**20
_IMPORTS: Final = f"import prefect.flow_engine, flows.{JOB.replace('-', '_')}"
_ROW: Final = "| {:<62} | {:>9} |"


def print_table() -> None:
    """Start a new stack, stop it, start it again, measure it, and print a table.

    Raises:
        ConfigurationError: The stack did not start.
    """
    with tempfile.TemporaryDirectory(prefix="wishcraft-bench-") as folder:
        data = Path(folder) / "data"
        with running_stack(data) as (first, _):
            pass
        with running_stack(data) as (second, stack):
            rows = [
                ("start with a new data folder", f"{first:.1f} s"),
                ("start with the data of the last one", f"{second:.1f} s"),
                *measure_runs(json.loads((data / "board.json").read_text()), _child(stack, "deployments.worker")),
                *measure_memory(stack),
            ]
    print(_ROW.format("start-up", ""), _ROW.format("-" * 62, "-" * 9), *(_ROW.format(*row) for row in rows), sep="\n")


@contextmanager
def running_stack(data: Path) -> Iterator[tuple[float, psutil.Process]]:
    """Context manager: a stack with its data in this folder; yields the seconds of its start, and its process.

    Raises:
        ConfigurationError: It ended, or was not ready in time.
    """
    ports = {"API_PORT": str(free_port()), "PREFECT_PORT": str(free_port())}
    command = [sys.executable, "-m", "deployments.local", "--folder", str(data), "up"]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | ports, stdout=subprocess.PIPE, text=True)  # noqa: S603  own module
    assert process.stdout  # noqa: S101  it is a pipe
    try:
        for line in process.stdout:
            if READY in line:
                break
            if time.perf_counter() - began > _START_SECONDS:
                raise ConfigurationError(f"the stack was not ready within {_START_SECONDS:.0f} s")
        else:
            raise ConfigurationError(f"the stack ended with code {process.wait()}")
        yield time.perf_counter() - began, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()


def measure_runs(stack: dict[str, Any], worker: psutil.Process) -> list[tuple[str, str]]:
    """Run the job some times, one after the other: the time until it is Completed, and the CPU time in the worker.

    The last row is what a new interpreter takes for the imports of a run.
    """
    user, _, password = stack["prefect_password"].partition(":")
    with httpx.Client(base_url=stack["prefect_api"], auth=(user, password), trust_env=False) as http:
        path = http.get(f"/deployments/name/{JOB}/{JOB}").raise_for_status().json()["id"]
        before, waited = _cpu_seconds(worker), []
        for _ in range(RUNS):
            began = datetime.now(UTC)
            run = http.post(f"/deployments/{path}/create_flow_run", json={}).raise_for_status().json()["id"]
            waited.append((_await_completed(http, run) - began).total_seconds())
    used = (_cpu_seconds(worker) - before) / RUNS
    imports = _cpu_of_imports()
    return [
        (f"a run of {JOB}: from its trigger to Completed (median of {RUNS})", f"{median(waited):.2f} s"),
        ("its CPU time, with the worker's", f"{used:.2f} s"),
        ("CPU time that a new interpreter takes for a run's imports", f"{imports:.2f} s"),
        ("a run's CPU time, as a share of that", f"{used / imports:.2f} x"),
    ]


def measure_memory(stack: psutil.Process) -> list[tuple[str, str]]:
    """The memory of the idle worker and API; what processes share counts by its share (PSS)."""
    worker, api = _child(stack, "deployments.worker"), _child(stack, "api")
    family = [worker, *worker.children(recursive=True)]
    return [
        ("memory of the worker", _format_pss([worker])),
        (f"memory of the worker and the process that forks its runs ({len(family)} processes)", _format_pss(family)),
        ("memory of the API", _format_pss([api])),
    ]


def _await_completed(http: httpx.Client, run: str) -> datetime:
    """When the run was Completed, by its state: so that this need not ask often, which is work for Prefect's server."""
    deadline = time.perf_counter() + _RUN_SECONDS
    while (state := http.get(f"/flow_runs/{run}").raise_for_status().json()["state"])["type"] != "COMPLETED":
        if state["type"] in {"FAILED", "CRASHED", "CANCELLED"} or time.perf_counter() > deadline:
            raise ConfigurationError(f"the run of {JOB} is {state['name']}: {state['message']}")
        time.sleep(0.2)
    return datetime.fromisoformat(state["timestamp"])


def _child(stack: psutil.Process, module: str) -> psutil.Process:
    """The process `python -m <module>` of the stack."""
    return next(child for child in stack.children() if child.cmdline()[1:3] == ["-m", module])


def _cpu_seconds(process: psutil.Process) -> float:
    """CPU time of the process and its descendants, those that ended included."""
    return sum(sum(times[:4]) for each in (process, *process.children(recursive=True)) for times in [each.cpu_times()])


def _cpu_of_imports() -> float:
    """CPU time of an interpreter that imports what a run needs: of the second one, with what the first one cached."""
    for _ in range(2):
        before = os.times()
        subprocess.run([sys.executable, "-c", _IMPORTS], cwd=ROOT, check=True)  # noqa: S603  the text above
        after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _format_pss(processes: list[psutil.Process]) -> str:
    return f"{sum(each.memory_full_info().pss for each in processes) / _MIB:.0f} MiB"
