"""A web server in its own process: start, readiness, CPU and memory, stop. Failures include its log."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.load import LoadError
from deployments.sandbox.processes import ROOT, Program, free_port, running
from wishcraft.errors import ConfigurationError

_LOG_LINES: Final = 20


class ServerError(Exception):
    """A server did not start, or its response was wrong; the message has its last log lines."""


@dataclass(frozen=True)
class WebServer:
    """A listening server."""

    port: int
    process: psutil.Process

    @property
    def cpu(self) -> float:
        """CPU seconds used so far, user and system; the resolution is 0.01 s."""
        times = self.process.cpu_times()
        return times.user + times.system

    @property
    def memory_mib(self) -> float:
        """Resident memory."""
        return self.process.memory_info().rss / 2**20


@contextmanager
def web_server(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, cwd: Path = ROOT
) -> Iterator[WebServer]:
    """Context manager: run the command, which must listen at API_PORT.

    Raises:
        ServerError: It did not start, or its load failed.
    """
    port = free_port()
    log = folder / "web.log"
    program = Program("web", tuple(command), cwd, {**environment, "API_HOST": "127.0.0.1", "API_PORT": str(port)})
    try:
        with running(program, lambda: _listens(port), log) as process:
            yield WebServer(port, psutil.Process(process.pid))
    except (ConfigurationError, LoadError, psutil.NoSuchProcess) as error:
        raise ServerError(_explain(command, str(error), log)) from error


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _explain(command: Sequence[str], reason: str, log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] or ["(nothing)"]
    text = "\n".join(f"    {line}" for line in lines)
    return (
        f"The measured server failed: {' '.join(command)}\n{reason}\nIts last log lines:\n{text}\n"
        "If a package is missing, run `make .venv/.installed`; if a response is wrong, `make test`. Then repeat:\n"
        "    python -m benchmarks serving"
    )
