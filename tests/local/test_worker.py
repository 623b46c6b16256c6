"""The worker with real runs: it ends them at a batch when it is told to end, and its death blocks no other run."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from deployments.local.workspace import ROOT
from deployments.sandbox.shopify.faults import Fault, FaultKind
from deployments.sandbox.shopify.simulator import Simulator
from tests.local.prefect_calls import becomes, create_run, deployment_id, hastened, post, set_state, state_of
from wishcraft.settings import Settings

pytestmark = [pytest.mark.chaos, pytest.mark.usefixtures("demo")]


class Worker:
    """A worker process of our own."""

    def __init__(self, environment: dict[str, str], log: Path, patience: float) -> None:
        command = [sys.executable, "-m", "deployments.worker", "--name", "tested", "--patience", str(patience)]
        with log.open("ab") as output:
            self.process = psutil.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)

    def family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def stop(self) -> int:
        """Ask it to end, and return its exit code; nothing of it may be left."""
        family = self.family()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        _, left = psutil.wait_procs(family, timeout=10)
        assert not left
        return int(code)

    def kill(self) -> None:
        for process in self.family():
            process.kill()
        self.process.wait(10)


@pytest.fixture
def job_environment(environment: dict[str, str], settings: Settings) -> dict[str, str]:
    """The Prefect server's environment with the test's stores and simulator."""
    named = {name.upper(): value for name, value in settings if value is not None and "prefect" not in name}
    plain = {n: v.get_secret_value() if isinstance(v, SecretStr) else str(v) for n, v in named.items()}
    return environment | plain


@pytest.fixture
def start(job_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers, and kills those that a failed test left."""
    workers: list[Worker] = []

    def start(patience: float = 20) -> Worker:
        workers.append(Worker(job_environment, tmp_path / "worker.log", patience))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.is_running():
            worker.kill()
    print((tmp_path / "worker.log").read_text())  # noqa: T201  pytest shows it when a test fails


@pytest.fixture
def slow_job(http: httpx.Client) -> str:
    flow = post(http, "/flows/", {"name": "slow-job"})
    body = {
        "name": "slow-job",
        "flow_id": flow["id"],
        "entrypoint": "tests.local.slow_job.slow_job",
        "pull_steps": [],
        "enforce_parameter_schema": False,
        "concurrency_limit": 1,
        "work_pool_name": "wishcraft",
    }
    return str(post(http, "/deployments/", body)["id"])


async def test_a_run_ends_at_its_next_batch_when_its_worker_is_told_to_end(
    http: httpx.Client, start: Callable[..., Worker], slow_job: str
) -> None:
    worker = start()
    run = create_run(http, slow_job, batches=10_000, seconds=0.1)
    await becomes(lambda: any(data > 0 for data in progress_of(http, run)))
    assert worker.stop() == 0
    assert state_of(http, run)["type"] == "CANCELLED"
    assert state_of(http, run)["message"].startswith("Stopped after 0 of 3 shops")
    worker = start()
    again = create_run(http, slow_job, batches=1, seconds=0)
    await becomes(lambda: state_of(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_a_sync_that_shopify_keeps_waiting_ends_and_the_next_one_does_the_rest(
    http: httpx.Client, start: Callable[..., Worker], simulator: Simulator
) -> None:
    for shop in simulator.shops.values():
        shop.faults.set(Fault(FaultKind.SERVER_ERROR, remaining=None))
    sync = deployment_id(http, "sync-inventory")
    worker = start()
    run = create_run(http, sync)
    await becomes(lambda: bool(tasks_of(http, run)))
    assert worker.stop() == 0
    assert state_of(http, run)["type"] == "CANCELLED"
    assert state_of(http, run)["message"].startswith("Stopped after 0 of 3 shops")
    for shop in simulator.shops.values():
        shop.faults.set(Fault(FaultKind.SERVER_ERROR, remaining=0))
    worker = start()
    again = create_run(http, sync)
    await becomes(lambda: state_of(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_a_run_cancelled_in_the_ui_ends_and_its_worker_goes_on(
    http: httpx.Client, start: Callable[..., Worker], slow_job: str
) -> None:
    worker = start()
    run = create_run(http, slow_job, batches=10_000, seconds=0.1)
    await becomes(lambda: bool(tasks_of(http, run)))
    set_state(http, run, "CANCELLING")
    await becomes(lambda: state_of(http, run)["type"] == "CANCELLED")
    again = create_run(http, slow_job, batches=1, seconds=0)
    await becomes(lambda: state_of(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


async def test_a_run_that_reaches_no_batch_in_time_is_cancelled_with_its_worker(
    http: httpx.Client, start: Callable[..., Worker], slow_job: str
) -> None:
    worker = start(patience=1)
    run = create_run(http, slow_job, batches=1, seconds=600)
    await becomes(lambda: bool(tasks_of(http, run)))
    assert worker.stop() == 0
    assert state_of(http, run)["type"] == "CANCELLED"
    assert "before this run came to the end of a batch" in state_of(http, run)["message"]


async def test_a_run_killed_with_its_worker_is_crashed_and_the_next_one_completes(
    http: httpx.Client, start: Callable[..., Worker], slow_job: str
) -> None:
    worker = start()
    with hastened(http, "Mark runs whose process died"):
        run = create_run(http, slow_job, batches=1, seconds=600)
        await becomes(lambda: bool(tasks_of(http, run)))
        worker.kill()
        assert state_of(http, run)["type"] == "RUNNING"
        await becomes(lambda: state_of(http, run)["type"] == "CRASHED")
    worker = start()
    again = create_run(http, slow_job, batches=1, seconds=0)
    await becomes(lambda: state_of(http, again)["type"] == "COMPLETED")
    assert worker.stop() == 0


def progress_of(http: httpx.Client, run: str) -> list[float]:
    query = {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": ["progress"]}}}
    return [each["data"] for each in post(http, "/artifacts/filter", query)]


def tasks_of(http: httpx.Client, run: str) -> list[str]:
    """The tasks that are at work on shops."""
    query = {"flow_runs": {"id": {"any_": [run]}}, "task_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    return [each["name"] for each in post(http, "/task_runs/filter", query) if not each["name"].startswith("find")]
