"""A worker process of a test's own."""

import signal
import sys
from pathlib import Path

import psutil

from deployments.local.workspace import ROOT
from tests.support.prefect_calls import WAIT_SECONDS


class Worker:
    """A worker process of our own."""

    def __init__(self, environment: dict[str, str], log: Path, patience: float) -> None:
        self.log = log
        command = [sys.executable, "-m", "deployments.worker", "--name", "tested", "--patience", str(patience)]
        with log.open("ab") as output:
            self.process = psutil.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=output)

    def family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def stop(self) -> int:
        """Ask it to end, and return its exit code; nothing of it may be left."""
        family = self.family()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(WAIT_SECONDS)
        _, left = psutil.wait_procs(family, timeout=60)
        assert not left
        return int(code)

    def kill(self) -> None:
        for process in self.family():
            process.kill()
        self.process.wait(10)
