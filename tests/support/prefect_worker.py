"""A worker process for tests."""

import signal
import sys
from pathlib import Path

import psutil

from deployments.sandbox.processes import ROOT
from tests.support.prefect_calls import WAIT_SECONDS


class Worker:
    """A worker process."""

    def __init__(self, environment: dict[str, str], log: Path, patience: float) -> None:
        self.log = log
        command = [sys.executable, "-m", "deployments.worker", "--name", "tested", "--patience", str(patience)]
        with log.open("ab") as output:
            self.process = psutil.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def stop(self) -> int:
        """Send SIGTERM and return the exit code; fails if a process of it is left."""
        processes = self.processes()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WAIT_SECONDS)
        _, left = psutil.wait_procs(processes, timeout=60)
        assert not left
        return int(code)

    def kill(self) -> None:
        for process in self.processes():
            process.kill()
        self.process.wait(60)
