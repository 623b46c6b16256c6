"""A program that a test kills and starts again."""

import signal
import subprocess
from pathlib import Path

from deployments.sandbox.processes import Program, spawn_options


class KillableProcess:
    """A program of this test."""

    def __init__(self, program: Program, log: Path) -> None:
        self._program, self._log = program, log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._program.argv, stdout=log, **spawn_options(self._program))  # noqa: S603  ours

    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self, stop_signal: signal.Signals) -> int:
        self._process.send_signal(stop_signal)
        return self._process.wait(60)
