"""Batched reads: all keys requested within one turn of the event loop are read with one MGET.

A command costs this process more than the value it brings, so the readers of one turn share it. No value is older than
the turn in which it was requested.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import hiredis

from wishcraft.cache.shared_connection import SharedConnection, settle
from wishcraft.errors import CacheUnavailable

Value = bytes | None
OnReply = Callable[[Value | CacheUnavailable], None]
"""What a reader does with the value of its key, None if there is none, or with the reason why Redis gave no answer."""
Waiters = dict[str, list[OnReply]]
"""The readers of one MGET, by key."""


_log: Final = logging.getLogger(__name__)


class BatchedReader:
    """Reads values as bytes over a shared connection."""

    def __init__(self, connection: SharedConnection) -> None:
        self._connection = connection
        self._waiters: Waiters = {}

    def get(self, key: str) -> "asyncio.Future[Value]":
        """The value of the key, None if there is none. Awaiting it raises CacheUnavailable if Redis does not answer."""
        future: asyncio.Future[Value] = asyncio.get_running_loop().create_future()
        self.read(key, partial(settle, future))
        return future

    def read(self, key: str, on_reply: OnReply) -> None:
        """Call `on_reply` in a later turn of the event loop. What it raises is logged."""
        if not self._waiters:
            asyncio.get_running_loop().call_soon(self._send)
        readers = self._waiters.get(key)
        if readers is None:
            self._waiters[key] = [on_reply]
        else:
            readers.append(on_reply)

    def _send(self) -> None:
        waiters, self._waiters = self._waiters, {}
        command: Any = ("MGET", *waiters)  # hiredis's stubs lack some types
        self._connection.send(hiredis.pack_command(command), partial(_deliver, waiters))


def _deliver(waiters: Waiters, reply: list[Value] | CacheUnavailable) -> None:
    values = [reply] * len(waiters) if isinstance(reply, CacheUnavailable) else reply
    for value, readers in zip(values, waiters.values(), strict=True):
        for on_reply in readers:
            try:
                on_reply(value)
            except Exception:  # noqa: BLE001  others wait for the same reply
                _log.exception("A reader of Redis failed with the reply")
