"""One child of the supervisor: its process and its log file. It decides nothing."""

import asyncio
from asyncio.subprocess import Process
from pathlib import Path

from deployments.sandbox.processes import Program, spawn_options


class Child:
    """A program that can be started again and again; all its runs write to `<logs>/<name>.log`.

    What a stack before wrote there is kept as `<name>.log.1`.
    """

    def __init__(self, program: Program, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self._process: Process | None = None
        if self.log.exists():
            self.log.replace(logs / f"{self.log.name}.1")

    @property
    def pid(self) -> int | None:
        """The process id, or None while nothing runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the program; it may not be ready yet."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.argv, stdout=log, **spawn_options(self.program)
            )

    async def ended(self) -> int:
        """Wait for the end of the process and return its exit code (negative: the signal that ended it)."""
        assert self._process is not None  # noqa: S101  only a started child is waited for
        return await self._process.wait()

    async def stop(self, patience: float) -> None:
        """Ask the process to end; kill it after `patience` seconds. One that has ended is left alone."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(self.program.stop_signal)
            try:
                await asyncio.wait_for(self._process.wait(), patience)
            except TimeoutError:
                self.kill()
                await self._process.wait()

    def kill(self) -> None:
        """End the process without asking."""
        if self._process and self._process.returncode is None:
            self._process.kill()

    def last_lines(self, count: int = 15) -> str:
        """The end of the log, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join(f"    {line}" for line in lines)
