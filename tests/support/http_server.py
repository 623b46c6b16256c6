"""HTTP servers of this process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from api.app import create_service
from api.fast_path import FastPath, FastProtocol
from tests.support.waiting import block_until


@contextmanager
def served(app: ASGIApp, http: Any = "auto") -> Iterator[str]:
    """Serve the application in a thread, on a port of its own, with uvicorn's or the given protocol: its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", http=http))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    block_until(lambda: server.started, "the server did not start", pause=0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


class ConnectionTransport(httpx.AsyncHTTPTransport):
    """Transport of a client of an application that `open_client` serves: whatever the host of a URL is."""

    def __init__(self, app: FastAPI, port: int) -> None:
        super().__init__()
        self.app = app
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, with the `Host` that it has."""
        request.url = request.url.copy_with(host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


@asynccontextmanager
async def open_client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an application whose lifespan has begun, with its fast path, in this event loop: a client of it."""
    config = uvicorn.Config(create_service(app), lifespan="off", log_config=None, access_log=False)
    config.load()
    make = partial(FastProtocol, FastPath(app.state), config=config, server_state=ServerState(), app_state={})
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    transport = ConnectionTransport(app, server.sockets[0].getsockname()[1])
    async with (
        server,
        httpx.AsyncClient(transport=transport, base_url="http://api", timeout=60) as client,
    ):
        yield client
