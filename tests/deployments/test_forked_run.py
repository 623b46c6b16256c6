"""Imports of the process that forks runs, and threads and loops that it must not start before a fork."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
import yaml
from anyio import create_task_group, fail_after, to_thread
from prefect.client.schemas.objects import FlowRun
from prefect.runner._control_channel import ControlChannel

from deployments.forked_run import ForkStarter
from deployments.sandbox.processes import ROOT
from tests.support.waiting_run import wait_for_file

REPORT = """
import importlib, json, os, sys
from deployments.forked_run import list_imports
names = list_imports()
for name in names:
    importlib.import_module(name)
sockets = [link for fd in os.listdir("/proc/self/fd") if (link := _link(fd)).startswith("socket:")]
heavy = {"pandas", "numpy", "pyarrow", "matplotlib", "PIL", "distributed"} & set(sys.modules)
print(json.dumps([names, len(os.listdir("/proc/self/task")), sockets, sorted(heavy)]))
"""
LINK = """
import os
def _link(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the one that listed them
        return ""
"""


@pytest.fixture(scope="module")
def imported() -> Any:
    """Names of the modules; then threads, sockets and heavy modules of a process that has imported them."""
    done = subprocess.run([sys.executable, "-c", LINK + REPORT], cwd=ROOT, stdout=subprocess.PIPE, check=True)  # noqa: S603  the text above
    return json.loads(done.stdout)


def test_fork_server_imports_the_flow_of_every_deployment(imported: Any) -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {each["entrypoint"].rpartition(".")[0] for each in deployments} <= set(imported[0])


def test_imports_before_a_fork_start_no_thread_and_open_no_connection(imported: Any) -> None:
    assert imported[1:3] == [1, []]


def test_no_flow_imports_what_only_reports_need(imported: Any) -> None:
    assert imported[3] == []


def test_worker_itself_imports_no_client_of_a_database() -> None:
    program = "import sys, deployments.worker; sys.exit(bool({'sqlalchemy', 'psycopg', 'redis'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)  # noqa: S603  the text above


def test_fork_server_starts_under_a_long_temporary_folder(tmp_path: Path) -> None:
    folder = tmp_path / ("deep-" * 20)
    folder.mkdir()
    program = "from deployments.forked_run import start_fork_server; start_fork_server()"
    done = subprocess.run(  # noqa: S603  the text above
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.iterdir()) == []


async def test_worker_has_more_runs_at_once_than_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.forked_run._run_engine", wait_for_file)
    monkeypatch.setattr(to_thread.current_default_thread_limiter(), "total_tokens", 1)
    starter = ForkStarter("flows.nothing:nothing", str(tmp_path), {}, ControlChannel())
    with fail_after(60):
        async with create_task_group() as runs:
            pids = {(await runs.start(starter.start, FlowRun(flow_id=uuid4()))).pid for _ in range(3)}
            assert len(pids) == 3
            (tmp_path / "end").touch()
    assert not any(psutil.pid_exists(pid) for pid in pids)
