"""A Prefect server with its own database, for flows that are called as functions.

It costs a fifth of `prefect.testing.utilities.prefect_test_harness`: the harness imports the server into the test's
process too, and each of its servers repeats the migrations.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED, temporary_settings

from deployments.sandbox.http_probe import responds
from deployments.sandbox.processes import ROOT, Program, free_port, port_is_free, running

START_SECONDS: Final = 240
_SETTINGS: Final = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # without the services that create, mark and end runs on their own
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_API_DATABASE_MIGRATE_ON_START": "0",  # tests/support/prefect_app.py makes the tables
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",  # it imports Dask
    "PREFECT_SERVER_ANALYTICS_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
    # The events of tasks are written to the database in batches, after a second at the latest, not each on its own.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
"""Settings of the test server: services that no flow needs are off."""
_MEASURED: Final = "COVERAGE_PROCESS_START"
"""Makes a process measure what it covers; the server runs no line of ours."""


@contextmanager
def running_prefect(folder: Path) -> Iterator[None]:
    """Context manager: run a server in `folder`, and make this process use it."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    arguments = ("--factory", "tests.support.prefect_app:create_app", "--port", str(port), "--log-level", "error")
    program = Program(
        "prefect",
        (sys.executable, "-m", "uvicorn", *arguments),
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != _MEASURED}
        | _SETTINGS
        | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}"},
    )

    def ready() -> bool:
        return not port_is_free(port) and responds(f"{api}/health")

    with (
        running(program, ready, folder / "prefect.log", START_SECONDS),
        # No client asks for a token against CSRF, which this server does not have, before its first change.
        temporary_settings({PREFECT_API_URL: api, PREFECT_CLIENT_CSRF_SUPPORT_ENABLED: False}),
        pytest.MonkeyPatch.context() as patched,
    ):
        # Each flow asks the server for its default storage of results, of which there is none, with a client whose
        # socket stays open until the garbage collector finds it: in any later test. Jobs do not ask.
        patched.setattr("prefect.results._read_server_default_result_storage_block_id", lambda: None)
        patched.setattr("prefect.results._aread_server_default_result_storage_block_id", _no_block)
        yield
        for worker in (APILogWorker, EventsWorker):
            worker.drain_all()  # else they send to the server after its end


async def _no_block() -> None:
    """No default storage of results."""
