"""A Prefect server with its own database, for flows that are called as functions.

It costs a third of `prefect.testing.utilities.prefect_test_harness`: the harness imports the server into the test's
process too, and each of its servers repeats the migrations.
"""

import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import prefect
import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.sandbox.http_probe import responds
from deployments.sandbox.processes import ROOT, Program, free_port, port_is_free, running

START_SECONDS: Final = 240
_SETTINGS: Final = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # without the services that create, mark and end runs on their own
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
}
"""What no flow needs is off."""
_MEASURED: Final = "COVERAGE_PROCESS_START"
"""Makes a process measure what it covers; the server runs no line of ours."""


@contextmanager
def running_prefect(folder: Path, shared: Path) -> Iterator[None]:
    """Context manager: run a server in `folder`, and make this process use it.

    `shared` is a folder of all processes that start a server: the first one leaves its database there, still empty.
    """
    port, database, template = free_port(), folder / "prefect.db", shared / "prefect.db"
    api = f"http://127.0.0.1:{port}/api"
    arguments = ("--factory", "prefect.server.api.server:create_app", "--port", str(port), "--log-level", "error")
    program = Program(
        "prefect",
        (sys.executable, "-m", "uvicorn", "--app-dir", str(prefect.__module_path__.parent), *arguments),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != _MEASURED}
        | _SETTINGS
        | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}"},
    )
    with (shared / "prefect.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if template.exists():
            _copy(template, database)
            fcntl.flock(lock, fcntl.LOCK_UN)

        def ready() -> bool:
            return not port_is_free(port) and responds(f"{api}/health")

        with running(program, ready, folder / "prefect.log", START_SECONDS):
            if not template.exists():
                _copy(database, template)
            fcntl.flock(lock, fcntl.LOCK_UN)
            with temporary_settings({PREFECT_API_URL: api}), pytest.MonkeyPatch.context() as patched:
                # Each run asks the server for its default storage of results, of which there is none, with a client
                # whose socket stays open until the garbage collector finds it: in any later test.
                patched.setattr("prefect.results._read_server_default_result_storage_block_id", lambda: None)
                yield
                for worker in (APILogWorker, EventsWorker):
                    worker.drain_all()  # else they send to the server after its end


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
