"""Fixtures: a real Prefect server with the stack's setup and a password, whose alerts are collected in a list."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deployments.automations import MAX_DURATION
from deployments.local import services
from deployments.local.environment import Stores, child_environment
from deployments.local.prefect_api import PrefectApi
from deployments.local.services import Ports
from deployments.local.workspace import Workspace
from deployments.sandbox.environment import settings_environment
from deployments.sandbox.http_probe import responds
from deployments.sandbox.processes import ROOT, choose_port, running
from tests.support.prefect_automations import set_trigger_seconds, shortened_trigger
from tests.support.prefect_calls import (
    WAIT_SECONDS,
    delete_other_deployments,
    end_unfinished_runs,
    post,
)
from tests.support.prefect_worker import Worker
from wishcraft.settings import Settings

PASSWORD = "ops:only for:tests"
SETUP_TWICE = """
from deployments.prefect_setup import main
main()
main()
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raise the timeout of tests that use the Prefect server, because the first of them starts it."""
    for item in items:
        if "environment" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(4 * WAIT_SECONDS))


class AlertReceiver(BaseHTTPRequestHandler):
    """HTTP handler that stores the texts of posted alerts."""

    received: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(json.loads(body)["text"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  name set by http.server
        """Write nothing."""


@pytest.fixture(scope="session")
def alert_server() -> Iterator[tuple[str, list[str]]]:
    """URL of the alert receiver, and the received alerts."""
    received: list[str] = []
    handler = type("Handler", (AlertReceiver,), {"received": received})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/alerts", received
        server.shutdown()
        thread.join(20)


@pytest.fixture(scope="session")
def prefect_database() -> Iterator[str]:
    """A database for the Prefect server."""
    server = os.environ["TEST_DATABASE_URL"]
    name = Identifier(f"prefect_test_{os.getpid()}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(name))
        yield urlsplit(server)._replace(scheme="postgresql+asyncpg", path=f"/prefect_test_{os.getpid()}").geturl()
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="session")
def environment(
    tmp_path_factory: pytest.TempPathFactory, alert_server: tuple[str, list[str]], prefect_database: str
) -> Iterator[dict[str, str]]:
    """The process environment of a stack whose Prefect server runs and was set up twice."""
    folder = tmp_path_factory.mktemp("prefect")
    workspace = Workspace(folder)
    workspace.temporary.mkdir()
    port = choose_port("Prefect", None, folder / "port")
    with pytest.MonkeyPatch.context() as shell:
        shell.setenv("PREFECT_API_AUTH_STRING", PASSWORD)
        environment = child_environment(
            workspace, uuid4().hex, Ports(1, port, 1, 1, 1, 1, 1), Stores(prefect_database, None, "")
        )
    environment |= {
        "ALERT_WEBHOOK_URL": alert_server[0],
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect_database,
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
        # It looks at each run that was cancelled in the last day, all those of earlier tests: by default every 20 s.
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "3600",
    }
    api = environment["PREFECT_API_URL"]
    program = services.prefect(environment, port, PrefectApi(api)).program
    with running(program, lambda: responds(f"{api}/health"), folder / "server.log", timeout=WAIT_SECONDS):
        command = [sys.executable, "-c", SETUP_TWICE]
        subprocess.run(command, check=True, env=environment, cwd=ROOT, timeout=WAIT_SECONDS)  # noqa: S603  the text above
        with authenticated_client(environment) as http:  # no scheduled runs, so that workers take only the tests' runs
            for deployment in post(http, "/deployments/filter", {}):
                http.patch(f"/deployments/{deployment['id']}", json={"paused": True}).raise_for_status()
            yield environment


@pytest.fixture
def job_environment(environment: dict[str, str], settings: Settings) -> dict[str, str]:
    """The same environment with the test's stores and simulator."""
    own = settings_environment(settings)
    return environment | {name: value for name, value in own.items() if "PREFECT" not in name}


@pytest.fixture
def http(environment: dict[str, str]) -> Iterator[httpx.Client]:
    """Client of the server, on which no run of an earlier test is unfinished, and no schedule makes one."""
    with authenticated_client(environment) as http:
        end_unfinished_runs(http)
        delete_other_deployments(http, MAX_DURATION)
        yield http


@pytest.fixture
def alerts(alert_server: tuple[str, list[str]], http: httpx.Client) -> list[str]:
    """The alerts since the start of the test, and late ones of others; it grows. None is held back for another."""
    set_trigger_seconds(http, dict.fromkeys(("Alert: a job failed", "Alert: a job does not start"), 0))
    alert_server[1].clear()
    return alert_server[1]


def authenticated_client(environment: dict[str, str]) -> httpx.Client:
    user, _, password = PASSWORD.partition(":")
    return httpx.Client(base_url=environment["PREFECT_API_URL"], auth=(user, password), timeout=60, trust_env=False)


@pytest.fixture
def start_worker(job_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers, and kills those left by a failed test."""
    workers: list[Worker] = []

    def start_worker(patience: float = WAIT_SECONDS / 2) -> Worker:
        workers.append(Worker(job_environment, tmp_path / "worker.log", patience))
        return workers[-1]

    yield start_worker
    for worker in workers:
        if worker.process.is_running():
            worker.kill()
    print((tmp_path / "worker.log").read_text())  # noqa: T201  pytest shows it when a test fails


@pytest.fixture(scope="module")
def short_silence(environment: dict[str, str]) -> Iterator[None]:
    """Runs without a sign of life are ended after seconds; live runs too, as heartbeats come each half minute."""
    names = ("Mark runs whose process died", "Mark runs whose cancellation has no end", "Mark runs that never started")
    with authenticated_client(environment) as http, shortened_trigger(http, *names):
        yield


@pytest.fixture
def slow_job(http: httpx.Client) -> str:
    return deploy(http, "slow-job", "tests.support.slow_job.slow_job")


def deploy(
    http: httpx.Client,
    name: str,
    entrypoint: str,
    concurrency_limit: int | None = 1,
    **options: object,
) -> str:
    """Create a deployment of the pool, for this test alone; returns its id.

    Another test's would still have its killed runs in their places, and the product's would be replaced for all tests.
    """
    flow = post(http, "/flows/", {"name": name})
    body = {
        "name": f"{name}-{uuid4()}",
        "flow_id": flow["id"],
        "entrypoint": entrypoint,
        "pull_steps": [],
        "enforce_parameter_schema": False,
        "concurrency_limit": concurrency_limit,
        "work_pool_name": "wishcraft",
        **options,
    }
    return str(post(http, "/deployments/", body)["id"])
