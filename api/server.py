"""uvicorn's configuration: one write per response, and a graceful shutdown that loses no request."""

import asyncio
import signal
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Corked:
    """A transport that buffers writes until the next event loop iteration: head and body take one system call."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """Every other attribute is the transport's."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Buffer the data; it is sent in the next event loop iteration."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Send the buffer, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(b"".join(parts))


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on a corked transport."""

    def connection_made(self, transport: Any) -> None:
        """Wrap the transport of a new connection."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]  # it delegates to a transport


class DrainingServer(uvicorn.Server):
    """On SIGTERM, serves on for `drain_seconds`, but reports that it is not ready and sends `Connection: close`.

    The proxy has removed the process before it closes a connection, so no request is lost.
    """

    def __init__(self, config: uvicorn.Config, state: Any, drain_seconds: float) -> None:
        """`state` is the application's; this sets its `draining`."""
        super().__init__(config)
        self._state = state
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to drain; a second signal, or SIGINT, stops at once."""
        if self._state.draining or sig == signal.SIGINT or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        self._state.draining = True
        stop = super().handle_exit
        asyncio.get_running_loop().call_later(self._drain_seconds, stop, sig, frame)


def serve(service: ASGIApp, state: Any, *, host: str, port: int, drain_seconds: float) -> None:
    """Serve until a signal stops the process."""
    config = uvicorn.Config(
        service,
        host=host,
        port=port,
        loop="uvloop",
        http=CorkedProtocol,
        ws="none",
        lifespan="on",
        server_header=False,
        proxy_headers=False,  # TRUSTED_PROXIES decides instead
        log_config=None,  # uvicorn logs through the handlers of `configure_logging`
        access_log=False,  # a line costs more than a hit; metrics count requests
        timeout_graceful_shutdown=10,
    )
    DrainingServer(config, state, drain_seconds).run()
