"""A connection to Redis that many callers share: commands are sent at once, and their replies come in the same order.

redis-py makes the connection (TLS, password, database, era); then its transport is used directly, because redis-py's
work around each command, and its pool, cost more than the command (decision 0009).
"""

import asyncio
import select
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from functools import partial
from typing import Any, Final

import hiredis
from redis.typing import EncodableT

from wishcraft.cache.circuit_breaker import CircuitBreaker
from wishcraft.errors import CacheUnavailable

OnReply = Callable[[Any], None]
"""Takes a reply as hiredis parses it, or the `CacheUnavailable` in its place. It must not raise: others wait, too."""
_ERROR: Final = hiredis.HiredisError
_GRACE_SECONDS: Final = 0.001
_BUFFER_BYTES: Final = 128 * 1024
"""What is read from the socket at once: the replies to a turn of the event loop under load."""
_KEPT_BYTES: Final = 4 * _BUFFER_BYTES
"""How large the parser's buffer may stay: to allocate it for each read takes ten times as long as to parse."""


class ErrorReply(CacheUnavailable):
    """Redis answered a command with an error."""


class SharedConnection:
    """A connection that is made on first use, and again after a loss."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        timeout: float,
        breaker: CircuitBreaker | None = None,
        *,
        connect_timeout: float | None = None,
        on_demoted: Callable[[], None] | None = None,
    ) -> None:
        """A connection that is not made yet.

        Args:
            connect: Returns a connection of redis-py that is ready for commands.
            timeout: Seconds to wait for the next reply.
            connect_timeout: Seconds to wait for a connection, which takes several replies; `timeout` by default.
            breaker: While it is open, nothing is sent; a timeout, a lost connection and a server that is still loading
                its data open it.
            on_demoted: Is called when the server says that it is a replica.
        """
        self._connect = connect
        self._timeout = timeout
        self._connect_timeout = timeout if connect_timeout is None else connect_timeout
        self._breaker = breaker
        self._on_demoted = on_demoted
        self._link: _Link | None = None
        self._waiting: list[tuple[bytes, tuple[OnReply, ...]]] = []
        """Commands until the connection is made."""
        self._connecting: asyncio.Task[None] | None = None

    def execute(self, *command: EncodableT) -> "asyncio.Future[Any]":
        """Send a command; awaiting the future gives the reply.

        The future raises ErrorReply if Redis refuses the command, and CacheUnavailable if it does not answer; then it
        may have run the command.
        """
        future = asyncio.get_running_loop().create_future()
        packed: Any = command  # hiredis's stubs lack some types
        self.send(hiredis.pack_command(packed), partial(settle, future))
        return future

    def send(self, commands: bytes, *on_replies: OnReply) -> None:
        """Send packed commands, and call the `on_reply` of each with what comes of it, perhaps at once."""
        if self._breaker and self._breaker.is_open:
            _reject(on_replies, "Redis did not answer a moment ago")
        elif self._link is None or not self._link.send(commands, on_replies):
            self._waiting.append((commands, on_replies))
            if self._connecting is None:
                # A context of its own: the connection outlives the request that needed it first.
                self._connecting = asyncio.create_task(self._open(), context=Context())

    def close(self) -> None:
        """Close the connection; callers that still wait get CacheUnavailable."""
        if self._connecting:
            self._connecting.cancel()
            self._connecting = None  # a later command makes a connection again
        if self._link:
            self._link.close()
        self._reject_waiting("the connection was closed")

    async def _open(self) -> None:
        link, reason = None, ""
        try:
            async with asyncio.timeout(self._connect_timeout):
                link = _Link(await self._connect(), self._timeout, self._breaker, self._on_demoted)
        except Exception as error:  # noqa: BLE001  any failure means that Redis cannot be reached
            reason = f"{type(error).__name__}: {error}"
        if self._connecting is not asyncio.current_task():  # closed: `asyncio.wait_for` may swallow a cancellation
            if link:
                link.close()
            return
        self._connecting = None
        if link is None:
            if self._breaker:
                self._breaker.open(reason)
            self._reject_waiting(reason)
            return
        self._link = link
        waiting, self._waiting = self._waiting, []
        for commands, on_replies in waiting:
            if not link.send(commands, on_replies):
                _reject(on_replies, "the connection was lost")

    def _reject_waiting(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for _, on_replies in waiting:
            _reject(on_replies, reason)


class _Link(asyncio.BufferedProtocol):
    """An open connection, and the callers that wait for a reply on it, in the order of the commands."""

    def __init__(
        self,
        connection: Any,
        timeout: float,
        breaker: CircuitBreaker | None,
        on_demoted: Callable[[], None] | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._breaker = breaker
        self._on_demoted = on_demoted
        self._pending: deque[OnReply] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._waits_since = 0.0
        """When the oldest pending command was sent or, if later, the last reply came."""
        self._parser = hiredis.Reader()
        self._parser.setmaxbuf(_KEPT_BYTES)
        # A view, because asyncio's TLS writes to slices of it. Any, because hiredis's stubs lack some types.
        self._buffer: Any = memoryview(bytearray(_BUFFER_BYTES))
        # redis-py has no way to hand over its transport. Without its writer it does not warn of an open connection.
        self._writer, connection._writer, connection._reader = connection._writer, None, None  # noqa: SLF001
        self._transport: Any = self._writer.transport
        self._transport.set_protocol(self)
        self.is_lost = self._transport.is_closing()
        self._socket_events = select.poll()
        if not self.is_lost:
            self._socket_events.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)

    def send(self, commands: bytes, on_replies: Iterable[OnReply]) -> bool:
        """Send commands; False if the server has closed the connection, and nothing was sent."""
        if not self._pending:
            # While no reply is due, there is nothing to be read but the end of the connection, or a reply to nothing,
            # which the next command would take for its own.
            if not self.is_lost and self._socket_events.poll(0):
                self.is_lost = True
                self._transport.abort()
            self._waits_since = self._loop.time()
        if self.is_lost:
            return False
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._check_silence)
        self._pending.extend(on_replies)
        self._transport.write(commands)
        return True

    def close(self) -> None:
        self.is_lost = True
        self._transport.abort()
        self._reject_all("the connection was closed")

    def get_buffer(self, _sizehint: int) -> Any:
        """Where the event loop puts what it reads next; what was there is in the parser."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse replies, which may come in parts."""
        self._waits_since = self._loop.time()
        self._parser.feed(self._buffer, 0, nbytes)
        next_reply, pending = self._parser.gets, self._pending
        while (reply := next_reply()) is not False:
            on_reply = pending.popleft()
            if isinstance(reply, _ERROR):
                if str(reply).startswith("LOADING"):
                    self._open_breaker(str(reply))
                elif str(reply).startswith("READONLY") and self._on_demoted:
                    self._loop.call_soon(self._on_demoted)  # it closes this connection, whose replies are parsed now
                    self._on_demoted = None
                reply = ErrorReply(str(reply))
            on_reply(reply)

    def connection_lost(self, error: Exception | None) -> None:
        """Reject all callers: the server closed the connection, or it broke."""
        if not self.is_lost:
            self.is_lost = True
            reason = f"the connection was lost: {error}" if error else "the connection was lost"
            if self._pending:
                self._open_breaker(reason)
            self._reject_all(reason)

    def pause_writing(self) -> None:
        """Do nothing: callers wait for their replies before they send more."""

    def resume_writing(self) -> None:
        """Do nothing."""

    def _check_silence(self) -> None:
        """Time out, or look again later: one timer for all commands costs less than one for each."""
        self._timer = None
        if self.is_lost or not self._pending:
            return
        left = self._waits_since + self._timeout - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._check_silence)
        else:
            # The loop reads from the socket once more: this process may have been too busy to read the reply.
            self._timer = self._loop.call_later(_GRACE_SECONDS, self._time_out, self._waits_since)

    def _time_out(self, waited_since: float) -> None:
        self._timer = None
        if self.is_lost or not self._pending:
            return
        if self._waits_since > waited_since:
            self._check_silence()
            return
        reason = f"no reply for {self._timeout} s"
        self._open_breaker(reason)
        self.is_lost = True
        self._transport.abort()
        self._reject_all(reason)

    def _open_breaker(self, cause: str) -> None:
        if self._breaker:
            self._breaker.open(cause)

    def _reject_all(self, reason: str) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        pending = list(self._pending)
        self._pending.clear()
        _reject(pending, reason)


def _reject(on_replies: Iterable[OnReply], reason: str) -> None:
    for on_reply in on_replies:
        on_reply(CacheUnavailable(reason))


def settle(future: "asyncio.Future[Any]", reply: Any) -> None:
    """Complete the future with the reply, or with the `CacheUnavailable` in its place."""
    if future.done():  # its caller may have been cancelled
        return
    if isinstance(reply, CacheUnavailable):
        future.set_exception(reply)
    else:
        future.set_result(reply)
