"""The server refuses requests that are too large or too slow before the application sees them."""

import json
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from api.middleware.request import LARGEST_WEBHOOK
from api.server import MAX_HEAD_BYTES, MAX_HEAD_SECONDS, MAX_HEADERS, MAX_MESSAGE_BYTES, MAX_WAITING, LimitedProtocol
from tests.support.http_server import served

LARGE = 100_000
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n"
Connect = Callable[[], socket.socket]


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Answers the number of the request's headers and of its body's bytes; of `/early`, before the body has come."""
    size, more = 0, scope["type"] == "http" and scope["path"] != "/early"
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"x" * LARGE if scope.get("path") == "/large" else b"%d %d" % (len(scope.get("headers", ())), size)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Function that connects to a server with our protocol."""
    with served(application, LimitedProtocol) as address:
        yield lambda: connect_to(address)


def connect_to(address: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(address).port), timeout=30)


def send(connection: socket.socket, *parts: bytes) -> tuple[int, bytes]:
    """Status and body of the answer; the server may close before all parts are sent."""
    try:
        for part in parts:
            connection.sendall(part)
    except OSError:
        pass
    return receive(connection)


def receive(connection: socket.socket) -> tuple[int, bytes]:
    received = b""
    try:
        while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < length_of(received):
            if not (data := connection.recv(65536)):
                break
            received += data
    except ConnectionResetError:
        pass
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]) if head else 0, body


def length_of(received: bytes) -> int:
    head = received.partition(b"\r\n\r\n")[0].lower()
    return int(head.split(b"content-length: ")[1].split(b"\r\n")[0])


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


class Impatient(LimitedProtocol):
    """Waits not long for a client."""

    write_seconds = 0.1

    def _check_idleness_after(self, _seconds: float) -> None:
        super()._check_idleness_after(0)


def test_client_that_does_not_read_is_disconnected() -> None:
    request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
    hangup = select.poll()
    with served(application, Impatient) as address, closing(connect_to(address)) as connection:
        hangup.register(connection, 0)
        connection.sendall(200 * request)  # with larger responses than all buffers hold
        deadline = time.monotonic() + 60
        with suppress(ConnectionResetError, BrokenPipeError):
            while not hangup.poll(100) and time.monotonic() < deadline:
                connection.sendall(request)  # a closed socket answers with a reset
        assert hangup.poll(0)


def test_client_that_reads_slowly_gets_all(connect: Connect) -> None:
    with connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        received = 0
        while received < 20 * LARGE:
            received += len(connection.recv(4096))


class Counting(LimitedProtocol):
    """Counts the requests that wait for the answer to an earlier one."""

    waiting: ClassVar[list[int]] = []

    def on_headers_complete(self) -> None:
        try:
            super().on_headers_complete()
        finally:
            self.waiting.append(len(self.pipeline))


@pytest.mark.parametrize(("requests", "is_answered"), [(10 * MAX_WAITING, True), (20_000, False)])
def test_requests_that_wait_for_an_earlier_one_are_bounded(requests: int, *, is_answered: bool) -> None:
    request = b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * (1_000 if is_answered else 0))
    Counting.waiting.clear()
    received = b""
    with served(application, Counting) as address, closing(connect_to(address)) as connection:
        sender = Thread(target=send_all, args=(connection, requests * request))
        sender.start()
        with suppress(ConnectionResetError):
            while received.count(b"HTTP/1.1 200") < requests and (data := connection.recv(65536)):
                received += data
        sender.join()
    assert (received.count(b"HTTP/1.1 200") == requests) is is_answered
    assert max(Counting.waiting) <= MAX_WAITING + 1


def send_all(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # the server may close before all is sent
        connection.sendall(data)


def test_head_within_the_limits_is_served(connect: Connect) -> None:
    many = b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS - 1))
    large = b"X: " + b"x" * (MAX_HEAD_BYTES - 100) + b"\r\n"
    with closing(connect()) as connection:
        for headers, count in ((many, MAX_HEADERS), (large, 2)):
            assert send(connection, REQUEST, headers, b"\r\n") == (200, b"%d 0" % count)


@pytest.mark.parametrize("parts", [1, 1000])
@pytest.mark.parametrize(
    "head",
    [
        REQUEST + b"X: " + b"x" * 2 * MAX_HEAD_BYTES + b"\r\n\r\n",
        REQUEST + b"X: " + b"x" * 100 * MAX_HEAD_BYTES,
        b"GET /" + b"x" * 2 * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n",
        REQUEST + b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS)) + b"\r\n",
        REQUEST + b"a:\r\n" * MAX_HEAD_BYTES,
    ],
    ids=["long", "endless", "path", "many", "endlessly many"],
)
def test_head_over_a_limit_is_refused_with_431(connect: Connect, head: bytes, parts: int) -> None:
    size = -(-len(head) // parts)
    with closing(connect()) as connection:
        status, body = send(connection, *(head[start : start + size] for start in range(0, len(head), size)))
        if status:  # otherwise the connection was reset, since the server closed it with data unread
            assert (status, json.loads(body)["status"]) == (431, 431)
        assert is_closed(connection)
    with closing(connect()) as connection:
        assert send(connection, REQUEST, b"\r\n")[0] == 200


def test_large_head_is_refused_also_if_it_comes_with_the_end_of_another_request(connect: Connect) -> None:
    large = REQUEST + b"X-Large: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n"
    with closing(connect()) as connection:
        assert send(connection, REQUEST + b"\r\n" + large) == (0, b"")  # a 431 would seem to answer the first one
        assert is_closed(connection)


@pytest.mark.parametrize("sent", [b"", b"GET", REQUEST, b"\r\n"], ids=["nothing", "method", "headers", "blank"])
@pytest.mark.parametrize("is_first", [True, False])
def test_head_that_does_not_arrive_in_time_is_refused(sent: bytes, *, is_first: bool) -> None:
    class Hurried(LimitedProtocol):
        head_seconds = 0.2 if is_first else MAX_HEAD_SECONDS

    with served(application, Hurried) as address, closing(connect_to(address)) as connection:
        if not is_first:
            assert send(connection, REQUEST, b"\r\n")[0] == 200
            Hurried.head_seconds = 0.2
        status, body = send(connection, sent)
        if sent or is_first:
            assert (status, json.loads(body)["status"]) == (408, 408)
        assert is_closed(connection)


@pytest.mark.parametrize("rest", [(b"abc",), (b"a", b"bc"), (b"abcG",)])
def test_connection_whose_body_comes_after_the_answer_is_closed_when_it_idles(
    rest: Sequence[bytes],
) -> None:
    class Hurried(Impatient):
        head_seconds = MAX_HEAD_SECONDS

    with served(application, Hurried) as address, closing(connect_to(address)) as connection:
        assert send(connection, b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n") == (200, b"2 0")
        Hurried.head_seconds = 0.01 if rest[-1].endswith(b"G") else 30
        for part in rest:
            connection.sendall(part)
        if rest[-1].endswith(b"G"):
            assert receive(connection)[0] == 408
        assert is_closed(connection)


@pytest.mark.parametrize("trailing", [b"1;" + b"x" * 2 * MAX_MESSAGE_BYTES, b"0\r\nX: " + b"x" * 2 * MAX_MESSAGE_BYTES])
def test_endless_chunk_extension_or_trailer_ends_the_connection(connect: Connect, trailing: bytes) -> None:
    with closing(connect()) as connection:
        send(connection, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", trailing)
        assert is_closed(connection)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_largest_webhook_passes(connect: Connect, *, is_chunked: bool) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\n"
    body = b"x" * LARGEST_WEBHOOK
    if is_chunked:
        size = 16 * 1024
        parts = (body[start : start + size] for start in range(0, len(body), size))
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    length = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % len(body)
    with closing(connect()) as connection:
        assert send(connection, head + length + b"\r\n\r\n", body) == (200, b"2 %d" % LARGEST_WEBHOOK)


def test_trailers_are_not_taken_for_headers(connect: Connect) -> None:
    body = b"3\r\nabc\r\n0\r\nX-Api-Key: k\r\n\r\n"
    with closing(connect()) as connection:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert send(connection, head, body) == (200, b"2 3")
        assert send(connection, REQUEST, b"\r\n") == (200, b"1 0")


def test_what_is_no_http_is_refused_with_a_problem_that_no_cache_keeps(connect: Connect) -> None:
    with closing(connect()) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"\r\ncache-control: no-store" in head
        assert json.loads(body)["status"] == 400
