"""A web server as a process of its own: started, waited for, weighed, stopped; what it wrote is told if it fails."""

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.load import LoadError
from deployments.sandbox.processes import Program, spawn_options, stop

ROOT: Final = Path(__file__).parents[1]
_PATIENCE: Final = 30
_LINES_TOLD: Final = 20


class ServerError(Exception):
    """A server did not start, or not answer as it should; the message ends with its log."""


@dataclass(frozen=True)
class WebServer:
    """One that listens."""

    port: int
    process: psutil.Process

    @property
    def cpu(self) -> float:
        """Seconds of processor that it has used, in user and in system mode; a hundredth is the clock's tick."""
        times = self.process.cpu_times()
        return times.user + times.system

    @property
    def memory_mib(self) -> float:
        """What it holds of the machine's memory."""
        return self.process.memory_info().rss / 2**20


@contextmanager
def web_server(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, cwd: Path = ROOT
) -> Iterator[WebServer]:
    """Run the command, which shall listen at API_PORT, within the block.

    Raises:
        ServerError: It did not start, or the load on it failed.
    """
    port = _free_port()
    log = folder / "web.log"
    program = Program("web", tuple(command), cwd, {**environment, "API_HOST": "127.0.0.1", "API_PORT": str(port)})
    with log.open("wb") as output:
        process = subprocess.Popen(program.argv, stdout=output, **spawn_options(program))  # noqa: S603  ours
    try:
        _wait(process, port)
        yield WebServer(port, psutil.Process(process.pid))
    except (LoadError, psutil.NoSuchProcess) as error:
        raise ServerError(_explain(command, str(error), log)) from error
    finally:
        stop(process, program.stop_signal, _PATIENCE)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _listens(port):
        if process.poll() is not None:
            raise LoadError(f"It ended with code {process.returncode} before it listened.")
        if time.monotonic() > deadline:
            raise LoadError(f"It does not listen after {_PATIENCE} seconds.")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _explain(command: Sequence[str], reason: str, log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LINES_TOLD:] or ["(nothing)"]
    told = "\n".join(f"    {line}" for line in lines)
    return (
        f"The measured server failed: {' '.join(command)}\n{reason}\nThe last that it wrote:\n{told}\n"
        "If a package is missing, run `make .venv/.installed`; if an answer is wrong, `make test`. Then measure anew:\n"
        "    python -m benchmarks serving"
    )
