"""A real Prefect server, set up as the stack's is, whose alerts come to a list."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deployments.local import services
from deployments.local.environment import children_environment
from deployments.local.prefect_api import PrefectApi
from deployments.local.services import Ports
from deployments.local.workspace import ROOT, Workspace
from deployments.sandbox.processes import choose_port, running

SET_UP_TWICE = """
import asyncio
from deployments.prefect_setup import deploy, prepare
asyncio.run(prepare())
asyncio.run(prepare())
deploy()
"""


class AlertReceiver(BaseHTTPRequestHandler):
    """Keeps the text of what is posted."""

    received: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(json.loads(body)["text"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is http.server's
        """Write nothing."""


@pytest.fixture(scope="session")
def alert_server() -> Iterator[tuple[str, list[str]]]:
    """Where alerts are to be posted, and those that came."""
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
    """A database for Prefect's server alone."""
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
    """The children's environment of a stack whose Prefect server runs, and was set up twice."""
    folder = tmp_path_factory.mktemp("prefect")
    workspace = Workspace(folder)
    workspace.temporary.mkdir()
    port = choose_port("Prefect", None, folder / "port")
    environment = children_environment(workspace, uuid4().hex, Ports(1, port, 1, 1, 1), prefect_database, "")
    environment |= {
        "ALERT_WEBHOOK_URL": alert_server[0],
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": prefect_database,
        "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
    }
    api = environment["PREFECT_API_URL"]
    program = services.prefect(environment, port, PrefectApi(api)).program
    with running(program, lambda: healthy(api), folder / "server.log", timeout=60):
        command = [sys.executable, "-c", SET_UP_TWICE]
        subprocess.run(command, check=True, env=environment, cwd=ROOT, timeout=60, capture_output=True)  # noqa: S603  the text above
        yield environment


@pytest.fixture
def http(environment: dict[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=environment["PREFECT_API_URL"], trust_env=False) as http:
        yield http


@pytest.fixture
def alerts(alert_server: tuple[str, list[str]]) -> list[str]:
    """The alerts that came since the test began; more may come."""
    alert_server[1].clear()
    return alert_server[1]


def healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", trust_env=False).is_success
    except httpx.HTTPError:
        return False
