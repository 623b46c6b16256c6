"""A TCP proxy that can fall silent, answer every HTTP request itself, or pass new connections on to another port."""

import asyncio
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

ANSWER: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>"
"""The answer of a proxy that shows a page of its own."""

BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FailingProxy:
    """Context manager: passes connections on to a port of this machine, in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.refused: list[str] = []
        """The paths of the requests that the proxy answered itself."""
        self._target = target
        self._answer: bytes | None = None
        self._flows = asyncio.Event()
        self._flows.set()
        self._loop = asyncio.new_event_loop()
        self._writers = set[StreamWriter]()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        starting = asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(20)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def fail(self, answer: bytes = ANSWER) -> None:
        """From now on, answer so, by default with status 500, and end the open connections."""
        self._answer = answer
        asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result(20)

    def heal(self) -> None:
        """Pass connections on again."""
        self._answer = None

    def lead_to(self, target: int) -> None:
        """From now on, pass new connections on to this port, as after a change in DNS."""
        self._target = target

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Meanwhile it accepts connections and passes nothing on, as a machine that stalls; afterwards, all of it."""
        self._loop.call_soon_threadsafe(self._flows.clear)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._flows.set)

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            if answer := self._answer:
                head = await reader.readuntil(b"\r\n\r\n")
                self.refused.append(head.split()[1].decode())
                writer.write(answer)
                await writer.drain()
            else:
                await self._pass_on(reader, writer)
        self._writers.discard(writer)
        writer.close()

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter) -> None:
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers.add(target_writer)
        await asyncio.gather(self._pump(reader, target_writer), self._pump(target_reader, writer))
        self._writers.discard(target_writer)

    async def _pump(self, source: StreamReader, sink: StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        sink.close()

    async def _disconnect(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        await self._disconnect()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
