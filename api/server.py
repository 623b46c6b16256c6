"""uvicorn's configuration: one write per response, limits on requests, and a shutdown that loses no request."""

import asyncio
import gc
import signal
from collections.abc import Callable
from socket import socket
from types import FrameType
from typing import Any, ClassVar, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api import problems
from api.middleware.request import LARGEST_WEBHOOK
from api.problem_kinds import KINDS

KEEP_ALIVE_SECONDS: Final = 75
"""Longer than proxies keep a connection that is not used, 60 s by default: on one that this server closes at the moment
at which they use it again, a request would be lost, and they may not repeat a POST."""
MAX_HEAD_SECONDS: Final = 10.0
MAX_HEAD_BYTES: Final = 32 * 1024
MAX_HEADERS: Final = 100
MAX_MESSAGE_BYTES: Final = LARGEST_WEBHOOK + 1024 * 1024
MAX_WAITING: Final = 500
"""Requests of one connection that wait for the answer to an earlier one. Each takes kilobytes; its text, 20 bytes."""
MAX_WRITE_SECONDS: Final = 20.0
"""For a full buffer of some 64 KiB, which is a modem's speed."""
_NEW_OBJECTS: Final = 5_000
"""Between two collections of garbage. Python's own 700 are a few requests', and most of them are still in use."""


class Corked:
    """A transport that buffers writes until the next event loop iteration: head and body take one system call."""

    __slots__ = ("_loop", "_parts", "_transport", "get_extra_info", "is_closing", "pause_reading", "resume_reading")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        # Each attribute by its name: with `__getattr__`, the interpreter would look for all of them in a dictionary.
        self.get_extra_info, self.is_closing = transport.get_extra_info, transport.is_closing
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Buffer the data; it is sent in the next event loop iteration."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def write_now(self, head: bytes, body: bytes | memoryview) -> None:
        """Send the buffer, then a whole response: with one system call, and without a copy of the body."""
        if self._parts:
            self._flush()
        if body:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head)

    def close(self) -> None:
        """Send the buffer, then close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close without the buffer."""
        self._transport.abort()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol on a corked transport, which refuses what uvicorn would wait for or keep in memory.

    The head of a request may take `head_seconds`, `MAX_HEAD_BYTES` and `MAX_HEADERS`. The application limits its
    body; `MAX_MESSAGE_BYTES` limits all of a message: with the sizes of chunks, their extensions and trailers. A
    client that does not read its responses is disconnected after `write_seconds`, and one that has sent more than
    `MAX_WAITING` requests ahead, at once.
    """

    head_seconds: ClassVar[float] = MAX_HEAD_SECONDS
    write_seconds: ClassVar[float] = MAX_WRITE_SECONDS

    __slots__ = (
        "_corked",
        "_has_upgraded",
        "_head_timer",
        "_is_between_requests",
        "_is_in_head",
        "_is_refused",
        "_received",
        "_write_timer",
    )

    def connection_made(self, transport: Any) -> None:
        """Wrap the transport of a new connection."""
        self._corked = Corked(transport)
        super().connection_made(self._corked)  # type: ignore[arg-type]  # it delegates to a transport
        self._is_in_head = self._is_refused = self._has_upgraded = False
        self._is_between_requests = True
        """Whether the parser has got no part of a request that is not complete."""
        self._received = 0
        """The bytes of the message that is not complete, at most."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_head_timer()
        self._stop_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The write buffer is full: the client must read."""
        super().pause_writing()
        self._stop_write_timer()
        self._write_timer = self.loop.call_later(self.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        self._stop_write_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse the data; refuse a message that has become too large."""
        if self._is_refused:
            return
        self._received += len(data)
        super().data_received(data)
        if self._is_refused:
            return
        is_answered = self.cycle is None or self.cycle.response_complete
        if self._received > (MAX_HEAD_BYTES if self._is_in_head else MAX_MESSAGE_BYTES):
            self._refuse("request-header-fields-too-large", "The request has too large a head or trailer.")
        elif is_answered and not self._received and not self._is_in_head:  # the end of a body, after the answer
            self._stop_head_timer()
            if self.timeout_keep_alive_task is None and not self.transport.is_closing():
                self._check_idleness_after(self.timeout_keep_alive)  # uvicorn has stopped its timer
        elif self._head_timer is None and (is_answered or (self._received and self._is_in_head)):
            self._start_head_timer()

    def on_message_begin(self) -> None:
        """The first byte of a request has arrived."""
        super().on_message_begin()
        self._is_in_head, self._is_between_requests = True, False

    def on_headers_complete(self) -> None:
        """Start the request, unless its head is too large."""
        self._is_in_head = False
        self._has_upgraded = self._has_upgraded or self.parser.should_upgrade()
        self._stop_head_timer()
        # `_received` lacks what has come with the end of an earlier request.
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        if len(self.headers) > MAX_HEADERS or size > MAX_HEAD_BYTES:
            detail = f"The head of a request may have {MAX_HEAD_BYTES // 1024} KiB and {MAX_HEADERS} headers."
            self._refuse("request-header-fields-too-large", detail)
            raise ValueError(detail)  # ends the parsing
        super().on_headers_complete()
        self.headers = []  # trailers go here, and not to the request
        if len(self.pipeline) > MAX_WAITING:
            detail = f"At most {MAX_WAITING} requests of a connection may wait for the answer to another."
            self._refuse("bad-request", detail)
            raise ValueError(detail)  # ends the parsing

    def on_message_complete(self) -> None:
        """The last byte of a request has arrived."""
        super().on_message_complete()
        self._received, self._is_between_requests = 0, True

    def on_response_complete(self) -> None:
        """Start the next request that waits; read further ones only when none does, which uvicorn does in any case."""
        super().on_response_complete()
        if self.pipeline:
            self.flow.pause_reading()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        if not self._is_refused:
            self._refuse("bad-request", msg)

    def _refuse(self, kind: str, detail: str) -> None:
        """Close the connection, with a problem unless it would be taken for the answer to an earlier request."""
        self._is_refused = True
        if self.cycle is None or self.cycle.response_complete:
            answer = problems.answer(kind, detail, {"Connection": "close", "Cache-Control": "no-store"})
            status = KINDS[kind].status
            head = [
                f"HTTP/1.1 {status.value} {status.phrase}".encode(),
                *(b"%s: %s" % header for header in answer.raw_headers),
            ]
            self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
        self.transport.close()

    def _check_idleness_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._time_out)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _time_out(self) -> None:
        self._refuse("request-timeout", f"The head of the request did not arrive within {self.head_seconds:g} s.")


class DrainingServer(uvicorn.Server):
    """On SIGTERM, serves on for `drain_seconds`, but reports that it is not ready and sends `Connection: close`.

    The proxy has removed the process before it closes a connection, so no request is lost.
    """

    def __init__(self, config: uvicorn.Config, state: Any, drain_seconds: float) -> None:
        """`state` is the application's; this sets `draining` of its `app_state`."""
        super().__init__(config)
        self._state = state
        self._drain_seconds = drain_seconds

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start to serve, and leave what was imported out of later collections of garbage: they would take 0.1 s."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_NEW_OBJECTS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start to drain; a second signal, or SIGINT, stops at once."""
        app_state = getattr(self._state, "app_state", None)  # None: it has not started
        if app_state is None or app_state.draining or sig == signal.SIGINT or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        app_state.draining = True
        stop = super().handle_exit
        asyncio.get_running_loop().call_later(self._drain_seconds, stop, sig, frame)


def make_config(service: ASGIApp, protocol: Callable[..., Any], **address: Any) -> uvicorn.Config:
    """Uvicorn's configuration. `protocol` makes that of a connection; `address` is the host and the port."""
    return uvicorn.Config(
        service,
        loop="uvloop",
        http=protocol,  # type: ignore[arg-type]  # uvicorn calls it
        ws="none",
        lifespan="on",
        server_header=False,
        proxy_headers=False,  # TRUSTED_PROXIES decides instead
        log_config=None,  # uvicorn logs through the handlers of `configure_logging`
        access_log=False,  # a line costs more than a hit; metrics count requests
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=10,
        **address,
    )


def serve(
    service: ASGIApp, protocol: Callable[..., Any], state: Any, *, host: str, port: int, drain_seconds: float
) -> None:
    """Serve until a signal stops the process."""
    DrainingServer(make_config(service, protocol, host=host, port=port), state, drain_seconds).run()
