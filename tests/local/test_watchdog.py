"""Not even `kill -9` of the supervisor leaves a process behind, be it stubborn or a grandchild."""

import sys
import uuid
from pathlib import Path

import psutil

from deployments.local.orphans import find_marked

SUPERVISOR = """
import os, pathlib, subprocess, sys, time
from deployments.local.watchdog import watched
from deployments.local.orphans import MARK
from deployments.local.workspace import ROOT
from deployments.sandbox.processes import Program, spawn_options

mark, board = sys.argv[1:]
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {stubborn!r}]); time.sleep(60)"
program = Program("parent", (sys.executable, "-c", parent), ROOT, {**os.environ, MARK: mark})
with watched(mark, pathlib.Path(board), ROOT):
    subprocess.Popen(program.argv, **spawn_options(program))
    time.sleep(60)
"""


def test_killed_supervisor_leaves_no_process_and_no_stack_info(tmp_path: Path) -> None:
    mark, board = uuid.uuid4().hex, tmp_path / "board.json"
    board.touch()
    command = [sys.executable, "-c", SUPERVISOR, mark, str(board)]
    supervisor = psutil.Popen(command)
    while len(find_marked(mark)) < 2:  # the child and the grandchild
        assert supervisor.poll() is None
    family = supervisor.children(recursive=True)
    supervisor.kill()
    supervisor.wait()
    _, left = psutil.wait_procs(family, timeout=20)
    assert left == []
    assert find_marked(mark) == []
    assert not board.exists()
