"""A web server: in a process of its own, with its CPU time and memory, or in the event loop of its client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import psutil
from fastapi import FastAPI
from uvicorn.server import ServerState

from api.app import create_service
from api.fast_path import FastProtocol
from api.server import make_config
from benchmarks.load import LoadError
from deployments.sandbox.processes import ROOT, Program, free_port, running
from wishcraft.errors import ConfigurationError

_LOG_LINES: Final = 20
_CONNECTIONS: Final = 100


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


class _OwnServer(httpx.AsyncHTTPTransport):
    """Sends all requests to one port of this machine, with the `Host` that they have."""

    def __init__(self, app: FastAPI, port: int) -> None:
        super().__init__(verify=False, limits=httpx.Limits(max_connections=None, max_keepalive_connections=20))
        self.app = app
        self._port = port
        # httpcore compares every waiting request with every connection, for seconds with hundreds of them.
        self._places = asyncio.Semaphore(_CONNECTIONS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        async with self._places:
            return await super().handle_async_request(request)


@asynccontextmanager
async def open_client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an application that has started, behind its fast path, in this event loop: a client of it."""
    protocol = partial(FastProtocol, app.state)
    config = make_config(create_service(app), protocol)
    config.load()
    connect = partial(protocol, config=config, server_state=ServerState(), app_state={})
    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    transport = _OwnServer(app, server.sockets[0].getsockname()[1])
    async with server, httpx.AsyncClient(transport=transport, base_url="http://api", timeout=60) as client:
        yield client


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
