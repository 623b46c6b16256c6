"""`kill -9` of the supervisor leaves no process, not even a grandchild that ignores SIGTERM."""

import sys
import uuid
from pathlib import Path

import psutil

from deployments.local.orphans import find_processes
from tests.support.waiting import PATIENCE_SECONDS

SUPERVISOR = """
import os, pathlib, subprocess, sys, time
from deployments.local.watchdog import watchdog
from deployments.local.orphans import STACK_ID_VARIABLE
from deployments.sandbox.processes import ROOT
from deployments.sandbox.processes import Program, spawn_options

stack_id, info_file = sys.argv[1:]
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {stubborn!r}]); time.sleep(60)"
program = Program("parent", (sys.executable, "-c", parent), ROOT, {**os.environ, STACK_ID_VARIABLE: stack_id})
with watchdog(stack_id, pathlib.Path(info_file), ROOT):
    subprocess.Popen(program.argv, **spawn_options(program))
    time.sleep(60)
"""


def test_killed_supervisor_leaves_no_process_and_no_stack_info(tmp_path: Path) -> None:
    stack_id, info_file = uuid.uuid4().hex, tmp_path / "board.json"
    info_file.touch()
    command = [sys.executable, "-c", SUPERVISOR, stack_id, str(info_file)]
    supervisor = psutil.Popen(command)
    while len(find_processes(stack_id)) < 2:  # the child and the grandchild
        assert supervisor.poll() is None
    family = supervisor.children(recursive=True)
    supervisor.kill()
    supervisor.wait()
    _, left = psutil.wait_procs(family, timeout=PATIENCE_SECONDS)
    assert left == []
    assert find_processes(stack_id) == []
    assert not info_file.exists()
