"""Batched reads: all values requested within one turn of the event loop are read with one MGET.

A command costs this process more than the value it brings, so the readers of one turn share it. The header of an entry
takes a GETRANGE of its own; those of one turn are sent together. No value is older than the turn in which it was
requested.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final

import hiredis

from wishcraft.cache.entries import HEADER_SIZE
from wishcraft.cache.shared_connection import SharedConnection, settle
from wishcraft.errors import CacheUnavailable

Value = bytes | None
OnReply = Callable[[Value | CacheUnavailable], None]
"""What a reader does with the value of its key, None if there is none, or with the reason why Redis gave no answer."""
Waiters = dict[str, list[OnReply]]
"""The readers of one turn, by key."""
_LAST: Final = str(HEADER_SIZE - 1)
_GETRANGE: Final = "*4\r\n$8\r\nGETRANGE\r\n$"
_OF_HEADER: Final = f"\r\n$1\r\n0\r\n${len(_LAST)}\r\n{_LAST}\r\n"
"""The command around the length of a key in bytes and the key itself: to join texts costs less than hiredis does."""
_log: Final = logging.getLogger(__name__)


class BatchedReader:
    """Reads values as bytes over a shared connection."""

    def __init__(self, connection: SharedConnection) -> None:
        self._connection = connection
        self._values: Waiters = {}
        self._headers: Waiters = {}
        self._loop: asyncio.AbstractEventLoop | None = None  # to ask for it takes a system call

    def get(self, key: str) -> "asyncio.Future[Value]":
        """The value of the key, None if there is none. Awaiting it raises CacheUnavailable if Redis does not answer."""
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self.read(key, partial(settle, future))
        return future

    def read(self, key: str, on_reply: OnReply, *, only_header: bool = False) -> None:
        """Call `on_reply` with the value in a later turn of the event loop. What it raises is logged.

        With `only_header`, the value is cut after `HEADER_SIZE` bytes: a long one costs more.
        """
        if not self._values and not self._headers:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._send)
        waiters = self._headers if only_header else self._values
        readers = waiters.get(key)
        if readers is None:
            waiters[key] = [on_reply]
        else:
            readers.append(on_reply)

    def _send(self) -> None:
        values, headers, self._values, self._headers = self._values, self._headers, {}, {}
        if values:
            command: Any = ("MGET", *values)  # hiredis's stubs lack some types
            self._connection.send(hiredis.pack_command(command), partial(_deliver, values.values()))
        if headers:
            commands = "".join(
                [f"{_GETRANGE}{len(key if key.isascii() else key.encode())}\r\n{key}{_OF_HEADER}" for key in headers]
            )
            replies: list[Value | CacheUnavailable] = []
            on_last = partial(_deliver_headers, headers.values(), replies)
            self._connection.send(commands.encode(), *[replies.append] * (len(headers) - 1), on_last)


def _deliver(waiters: Collection[list[OnReply]], reply: Sequence[Value | CacheUnavailable] | CacheUnavailable) -> None:
    values = [reply] * len(waiters) if isinstance(reply, CacheUnavailable) else reply
    if not isinstance(values, list) or len(values) != len(waiters):
        _deliver(waiters, CacheUnavailable("the reply is that of another command"))
        raise ValueError("a reply to MGET has another number of values")  # the event loop closes the connection
    for readers, value in zip(waiters, values, strict=True):
        for on_reply in readers:
            try:
                on_reply(value)
            except Exception:  # noqa: BLE001  others wait for the same reply
                _log.exception("A reader of Redis failed with the reply")


def _deliver_headers(
    waiters: Collection[list[OnReply]], replies: list[Value | CacheUnavailable], last: Value | CacheUnavailable
) -> None:
    """Deliver the headers of a turn once the last one has come: to keep a reply costs less than to deliver it alone."""
    _deliver(waiters, [reply or None for reply in (*replies, last)])  # GETRANGE gives an empty string if there is none
