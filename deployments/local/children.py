"""One child process of the supervisor, with its log file."""

import asyncio
from asyncio.subprocess import Process
from pathlib import Path
from typing import Final

from deployments.sandbox.processes import Program, spawn_options

_LAST_LINES: Final = 15


class Child:
    """A program that can be restarted; all its runs write to `<logs>/<name>.log`, which only its owner can read.

    The log of the previous stack is kept as `<name>.log.1`.
    """

    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self._process: Process | None = None
        if self.log.exists():
            self.log.chmod(0o600)
            self.log.replace(logs / f"{self.log.name}.1")

    @property
    def pid(self) -> int | None:
        """The process id, or None while nothing runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the program; does not wait until it is ready."""
        self.log.touch(mode=0o600)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.argv, stdout=log, **spawn_options(self.program)
            )

    async def ended(self) -> int:
        """Wait until the process exits and return its exit code (negative: the signal that ended it)."""
        assert self._process is not None  # noqa: S101  callers start it first
        return await self._process.wait()

    async def stop(self, patience: float) -> None:
        """Send the stop signal; kill after `patience` seconds. Does nothing if the process has exited."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(self.program.stop_signal)
            try:
                await asyncio.wait_for(self._process.wait(), patience)
            except TimeoutError:
                self.kill()
                await self._process.wait()

    def kill(self) -> None:
        """Kill the process."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    def last_lines(self) -> str:
        """The last lines of the log, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n".join(f"    {line}" for line in lines)
