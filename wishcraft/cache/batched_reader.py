"""Many readers, one question: what is asked for within one turn of the event loop is read with one MGET.

A command costs this process more than the value that it brings, so readers of one turn share it; no answer is older
than the turn in which it was asked for. The connection is made by redis-py (TLS, password, database, era); then its
transport is used directly, because redis-py's work around each command is a good part of a hit (decision 0009).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, Final

import hiredis

from wishcraft.errors import CacheUnavailable

Value = bytes | None
Waiting = dict[str, list["asyncio.Future[Value]"]]
_ONCE_MORE_SECONDS: Final = 0.001


class BatchedReader:
    """The values under keys, as bytes, over one connection of its own that is made when it is first needed."""

    def __init__(
        self, connect: Callable[[], Awaitable[Any]], timeout: float, check: Callable[[], None], fail: Callable[[], None]
    ) -> None:
        """`connect` gives a connection of redis-py.

        Args:
            connect: Makes the connection and greets the server.
            timeout: Seconds for each answer, a connection to be made included.
            check: Raises CacheUnavailable if nothing is to be asked for now.
            fail: Called when there was no answer.
        """
        self._connect = connect
        self._timeout = timeout
        self._check = check
        self._fail = fail
        self._waiting: Waiting = {}
        self._wire: _Wire | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    def get(self, key: str) -> "asyncio.Future[Value]":
        """What is under the key, None if nothing is; awaiting it raises CacheUnavailable when Redis does not answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Value] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._ask)
        futures = self._waiting.get(key)
        if futures is None:
            self._waiting[key] = [future]
        else:
            futures.append(future)
        return future

    def close(self) -> None:
        """Close the connection."""
        if self._wire:
            self._wire.close()
        for task in self._connecting:
            task.cancel()

    def _ask(self) -> None:
        waiting, self._waiting = self._waiting, {}
        try:
            self._check()
        except CacheUnavailable as error:
            _refuse(waiting, error)
            return
        if self._wire and not self._wire.is_lost:
            self._wire.ask(waiting)
            return
        task = asyncio.create_task(self._ask_anew(waiting), context=Context())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _ask_anew(self, waiting: Waiting) -> None:
        """Ask over a new connection, unless another question has made one meanwhile."""
        try:
            async with asyncio.timeout(self._timeout):
                connection = await self._connect()
        except Exception as error:  # noqa: BLE001  whatever it is, Redis cannot be asked
            self._fail()
            _refuse(waiting, CacheUnavailable(f"{type(error).__name__}: {error}"))
            return
        if self._wire is None or self._wire.is_lost:
            self._wire = _Wire(connection, self._timeout, self._fail)
        else:
            await connection.disconnect()
        self._wire.ask(waiting)


class _Wire(asyncio.Protocol):
    """A connection that is greeted, and the questions on it that are not answered yet, in their order."""

    def __init__(self, connection: Any, timeout: float, fail: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._fail = fail
        self._asked: deque[tuple[Waiting, asyncio.TimerHandle]] = deque()
        self._reader = hiredis.Reader()
        # redis-py has no way to give a transport away: what it would warn of as left open is taken from it.
        self._writer, connection._writer, connection._reader = connection._writer, None, None  # noqa: SLF001
        self._transport: Any = self._writer.transport
        self._transport.set_protocol(self)
        self.is_lost = self._transport.is_closing()

    def ask(self, waiting: Waiting) -> None:
        """Read the keys, and give each value to those who wait for it."""
        timer = self._loop.call_later(self._timeout, self._give_up, waiting)
        self._asked.append((waiting, timer))
        command: Any = ("MGET", *waiting)
        self._transport.write(hiredis.pack_command(command))

    def close(self) -> None:
        """Close it; whoever waits is refused."""
        self.is_lost = True
        self._transport.abort()
        self._refuse_all("the connection was closed")

    def data_received(self, data: bytes) -> None:
        """Answers, or parts of them."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            waiting, timer = self._asked.popleft()
            timer.cancel()
            if isinstance(reply, hiredis.HiredisError):
                self._fail()
                _refuse(waiting, CacheUnavailable(f"{type(reply).__name__}: {reply}"))
            else:
                _hand_out(waiting, reply)

    def connection_lost(self, error: Exception | None) -> None:
        """The server closed it, or it broke."""
        if not self.is_lost:
            self.is_lost = True
            if self._asked:
                self._fail()
                self._refuse_all(f"the connection was lost: {error}")

    def pause_writing(self) -> None:
        """Questions are short; nothing is to be done."""

    def resume_writing(self) -> None:
        """Questions are short; nothing is to be done."""

    def _give_up(self, waiting: Waiting) -> None:
        """Look once more at what has come: this process may have been too busy to see it."""
        self._loop.call_later(_ONCE_MORE_SECONDS, self._give_up_now, waiting)

    def _give_up_now(self, waiting: Waiting) -> None:
        if not self.is_lost and any(asked is waiting for asked, _ in self._asked):
            self._fail()
            self.close()

    def _refuse_all(self, reason: str) -> None:
        while self._asked:
            waiting, timer = self._asked.popleft()
            timer.cancel()
            _refuse(waiting, CacheUnavailable(reason))


def _hand_out(waiting: Waiting, values: list[Value]) -> None:
    for value, futures in zip(values, waiting.values(), strict=True):
        for future in futures:
            if not future.done():  # its reader may have gone
                future.set_result(value)


def _refuse(waiting: Waiting, error: CacheUnavailable) -> None:
    for futures in waiting.values():
        for future in futures:
            if not future.done():
                future.set_exception(error)
