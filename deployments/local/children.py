"""One child of the supervisor: its process, its log file and its output. It decides nothing."""

import asyncio
import os
from asyncio.subprocess import Process
from pathlib import Path
from typing import BinaryIO

from deployments.local.terminal import Terminal
from deployments.sandbox.processes import Program, spawn_options


class Child:
    """A program that can be started again and again; all its runs write to `<logs>/<name>.log` and to the terminal."""

    def __init__(self, program: Program, terminal: Terminal, logs: Path) -> None:
        self.program = program
        self.log = logs / f"{program.name}.log"
        self._terminal = terminal
        self._process: Process | None = None
        self._output: asyncio.Task[None] | None = None
        self.log.write_bytes(b"")

    @property
    def pid(self) -> int | None:
        """The process id, or None while nothing runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the program; it may not be ready yet."""
        # A pipe of our own: asyncio's keeps `Process.wait` from returning while a grandchild holds the other end.
        reading, writing = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.program.argv, stdout=writing, **spawn_options(self.program)
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._output = asyncio.create_task(self._copy_output(os.fdopen(reading, "rb", buffering=0)))

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

    async def drain(self) -> None:
        """Wait, but not for long, until what an ended process wrote last is in its log."""
        if self._output:
            await asyncio.wait({self._output}, timeout=0.5)

    def last_lines(self, count: int = 15) -> str:
        """The end of the log, indented."""
        lines = self.log.read_text(errors="replace").splitlines()[-count:]
        return "\n".join(f"    {line}" for line in lines)

    async def _copy_output(self, source: BinaryIO) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        partial = b""
        try:
            with self.log.open("ab", buffering=0) as log:
                while chunk := await reader.read(65_536):
                    log.write(chunk)
                    *lines, partial = (partial + chunk).split(b"\n")
                    for line in lines:
                        self._terminal.log(self.program.name, line.decode(errors="replace"))
        finally:
            transport.close()
