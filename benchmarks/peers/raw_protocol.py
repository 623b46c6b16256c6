"""The least that a server in Python can do: httptools' parser, and one MGET for the reads of a turn of the event loop.

It checks no signature and knows no caller, limit or metric.
"""

import asyncio
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

import httptools

from benchmarks.peers.stored_answers import TAG_SIZE, stored_key
from wishcraft.cache.batched_reader import Value
from wishcraft.cache.client import connect
from wishcraft.errors import CacheUnavailable
from wishcraft.settings import settings

_server: Final = connect(settings().redis_url)
_domains: Final = dict[bytes, str]()


class Protocol(asyncio.Protocol):
    """HTTP protocol of one connection, without an application."""

    def __init__(self, **_of_uvicorn: Any) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for responses."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Feed received data to the parser."""
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Read the registry's stored answer."""
        path, _, query = url.partition(b"?")
        domain = _domains.get(query)
        if domain is None:
            domain = _domains[query] = parse_qs(query)[b"shop"][0].decode()
        _server.batched_reader.read(
            stored_key(domain, path.rpartition(b"/")[2].decode()), partial(_write, self._transport)
        )


def _write(transport: Any, stored: Value | CacheUnavailable) -> None:
    if not isinstance(stored, bytes):
        transport.abort()
        return
    head = b'HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json\r\netag: "%b"\r\n\r\n'
    transport.write(head % (len(stored) - TAG_SIZE, stored[:TAG_SIZE]) + stored[TAG_SIZE:])


app: Final = None
"""uvicorn needs an application; the protocol never calls it."""
