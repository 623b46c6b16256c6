"""Batched reads: all keys requested within one turn of the event loop are read with one MGET.

A command costs this process more than the value it brings, so the readers of one turn share it. No value is older than
the turn in which it was requested. redis-py makes the connection (TLS, password, database, era); then its transport is
used directly, because redis-py's work around each command is a good part of the cost of a hit (decision 0009).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from functools import partial
from typing import Any, Final

import hiredis

from wishcraft.cache.circuit_breaker import CircuitBreaker
from wishcraft.errors import CacheUnavailable

Value = bytes | None
OnReply = Callable[[Value | CacheUnavailable], None]
"""What a reader does with the value of its key, None if there is none, or with the reason why Redis gave no answer."""
Waiters = dict[str, list[OnReply]]
"""The readers of one MGET, by key."""
_GRACE_SECONDS: Final = 0.001


class BatchedReader:
    """Reads values as bytes, over a connection of its own that is made on first use."""

    def __init__(
        self, connect: Callable[[], Awaitable[Any]], timeout: float, breaker: CircuitBreaker | None = None
    ) -> None:
        """A reader that is not connected yet.

        Args:
            connect: Returns a connection of redis-py that is ready for commands.
            timeout: Seconds for each reply, and for each connection attempt.
            breaker: While it is open, nothing is read; a timeout, an error reply and a lost connection open it.
        """
        self._connect = connect
        self._timeout = timeout
        self._breaker = breaker
        self._waiters: Waiters = {}
        self._connection: _Connection | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    def get(self, key: str) -> "asyncio.Future[Value]":
        """The value of the key, None if there is none. Awaiting it raises CacheUnavailable if Redis does not answer."""
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self.read(key, partial(_settle, future))
        return future

    def read(self, key: str, on_reply: OnReply) -> None:
        """Call `on_reply` in a later turn of the event loop. It must not raise: others wait for the same reply."""
        if not self._waiters:
            asyncio.get_running_loop().call_soon(self._send)
        readers = self._waiters.get(key)
        if readers is None:
            self._waiters[key] = [on_reply]
        else:
            readers.append(on_reply)

    def close(self) -> None:
        """Close the connection; readers that still wait get CacheUnavailable."""
        if self._connection:
            self._connection.close()
        for task in self._connecting:
            task.cancel()

    def _send(self) -> None:
        waiters, self._waiters = self._waiters, {}
        try:
            if self._breaker:
                self._breaker.check()
        except CacheUnavailable as error:
            _reject(waiters, error)
            return
        if self._connection and not self._connection.is_lost:
            self._connection.send(waiters)
            return
        task = asyncio.create_task(self._connect_and_send(waiters), context=Context())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect_and_send(self, waiters: Waiters) -> None:
        """Send over a new connection, unless a concurrent batch has made one."""
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
        except Exception as error:  # noqa: BLE001  any failure means that Redis cannot be reached
            if self._breaker:
                self._breaker.open()
            _reject(waiters, CacheUnavailable(f"{type(error).__name__}: {error}"))
            return
        if self._connection is None or self._connection.is_lost:
            self._connection = _Connection(connection, self._timeout, self._breaker)
        else:
            await connection.disconnect()
        self._connection.send(waiters)


class _Connection(asyncio.Protocol):
    """An open connection, and the batches that wait for a reply on it, in the order they were sent."""

    def __init__(self, connection: Any, timeout: float, breaker: CircuitBreaker | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._breaker = breaker
        self._pending: deque[tuple[Waiters, asyncio.TimerHandle]] = deque()
        self._parser = hiredis.Reader()
        # redis-py has no way to hand over its transport. Without its writer it does not warn of an open connection.
        self._writer, connection._writer, connection._reader = connection._writer, None, None  # noqa: SLF001
        self._transport: Any = self._writer.transport
        self._transport.set_protocol(self)
        self.is_lost = self._transport.is_closing()

    def send(self, waiters: Waiters) -> None:
        """Send one MGET for the keys; each waiter gets its value with the reply."""
        timer = self._loop.call_later(self._timeout, self._time_out, waiters)
        self._pending.append((waiters, timer))
        command: Any = ("MGET", *waiters)
        self._transport.write(hiredis.pack_command(command))

    def close(self) -> None:
        """Close the connection and reject all waiters."""
        self.is_lost = True
        self._transport.abort()
        self._reject_all("the connection was closed")

    def data_received(self, data: bytes) -> None:
        """Parse replies, which may come in parts."""
        self._parser.feed(data)
        while (reply := self._parser.gets()) is not False:
            waiters, timer = self._pending.popleft()
            timer.cancel()
            if isinstance(reply, hiredis.HiredisError):
                self._fail()
                _reject(waiters, CacheUnavailable(f"{type(reply).__name__}: {reply}"))
            else:
                for value, readers in zip(reply, waiters.values(), strict=True):
                    for on_reply in readers:
                        on_reply(value)

    def connection_lost(self, error: Exception | None) -> None:
        """Reject all waiters: the server closed the connection, or it broke."""
        if not self.is_lost:
            self.is_lost = True
            if self._pending:
                self._fail()
                self._reject_all(f"the connection was lost: {error}")

    def pause_writing(self) -> None:
        """Do nothing: commands are short."""

    def resume_writing(self) -> None:
        """Do nothing: commands are short."""

    def _time_out(self, waiters: Waiters) -> None:
        """Let the loop read from the socket once more: this process may have been too busy to read the reply."""
        self._loop.call_later(_GRACE_SECONDS, self._time_out_now, waiters)

    def _time_out_now(self, waiters: Waiters) -> None:
        if not self.is_lost and any(pending is waiters for pending, _ in self._pending):
            self._fail()
            self.close()

    def _fail(self) -> None:
        if self._breaker:
            self._breaker.open()

    def _reject_all(self, reason: str) -> None:
        while self._pending:
            waiters, timer = self._pending.popleft()
            timer.cancel()
            _reject(waiters, CacheUnavailable(reason))


def _reject(waiters: Waiters, error: CacheUnavailable) -> None:
    for readers in waiters.values():
        for on_reply in readers:
            on_reply(error)


def _settle(future: "asyncio.Future[Value]", reply: Value | CacheUnavailable) -> None:
    if future.done():  # its reader may have been cancelled
        return
    if isinstance(reply, CacheUnavailable):
        future.set_exception(reply)
    else:
        future.set_result(reply)
