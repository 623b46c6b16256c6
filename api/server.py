"""How uvicorn serves us: an answer in one write, and an end that no request notices."""

import asyncio
import signal
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Corked:
    """A transport that writes at the end of the event loop's turn: a head and its body are one system call, not two."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it soon, together with what else comes in this turn."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Close it once all is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(b"".join(parts))


class CorkedProtocol(HttpToolsProtocol):
    """uvicorn's own, on a corked transport."""

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(Corked(transport))  # type: ignore[arg-type]  # it does all that a transport does


class DrainingServer(uvicorn.Server):
    """Told to stop, it serves on for a while, but says that it is not ready and asks for new connections elsewhere.

    So the proxy in front has taken it out before it closes anything, and no request is lost.
    """

    def __init__(self, config: uvicorn.Config, state: Any, drain_seconds: float) -> None:
        """`state` is the application's: `draining` is set in it."""
        super().__init__(config)
        self._state = state
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal, or Ctrl-C at a terminal, does not wait."""
        if self._state.draining or sig == signal.SIGINT or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        self._state.draining = True
        stop = super().handle_exit
        asyncio.get_running_loop().call_later(self._drain_seconds, stop, sig, frame)


def serve(service: ASGIApp, state: Any, *, host: str, port: int, drain_seconds: float) -> None:
    """Serve until told to stop."""
    config = uvicorn.Config(
        service,
        host=host,
        port=port,
        loop="uvloop",
        http=CorkedProtocol,
        ws="none",
        lifespan="on",
        server_header=False,
        proxy_headers=False,  # whom to believe is TRUSTED_PROXIES
        log_config=None,  # its lines go the way of all others
        access_log=False,  # a line per request costs more than the request; metrics count them
        timeout_graceful_shutdown=10,
    )
    DrainingServer(config, state, drain_seconds).run()
