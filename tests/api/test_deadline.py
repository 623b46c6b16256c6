"""Every response is sent before the deadline, with the status of its cause."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest

from tests.support.aliases import Demo
from tests.support.api import WEDDING, Shopper, called_from, problem

ShortDeadline = Callable[[], AbstractContextManager[None]]
MINE = "/api/my-registries"
PATIENCE = 20.0
"""Seconds: far more than the deadline here, less than psycopg waits for the cancellation of a query."""


@pytest.fixture
def records_minutes() -> bool:
    return True


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> ShortDeadline:
    """Makes the deadline of the requests within a block so short that a busy machine could miss it."""

    @contextmanager
    def shorten() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr("api.middleware.request.MAX_SECONDS", 0.3)
            yield

    return shorten


@pytest.fixture
def stopped_backends(client: httpx.AsyncClient) -> Iterator[list[int]]:
    """Process ids of PostgreSQL backends that the test has stopped; they are continued at the end."""
    stopped: list[int] = []
    yield stopped
    resume(stopped)


def resume(stopped: list[int]) -> None:
    while stopped:
        os.kill(stopped.pop(), signal.SIGCONT)


async def unfinished_body() -> AsyncIterator[bytes]:
    yield b'{"title": "Emm'
    await asyncio.Event().wait()


async def test_slow_body_is_answered_408_without_an_error_log(
    client: httpx.AsyncClient,
    signed: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
    short_deadline: ShortDeadline,
) -> None:
    async with called_from(client, "127.0.0.1") as direct:  # a client over HTTP waits until it has sent its body
        emma = Shopper(direct, signed, 7_100_000_000_001)
        assert (await emma.send("GET", MINE)).status_code == 200  # else it may pass before the body is awaited
        with short_deadline():
            answer = await emma.send("POST", "/api/registries", unfinished_body())
    assert problem(answer) == (408, "request-timeout")
    assert answer.headers["connection"] == "close"
    ours = [record for record in caplog.records if record.name.startswith(("api", "wishcraft"))]
    assert not [record for record in ours if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(("method", "path", "body"), [("GET", MINE, None), ("POST", "/api/registries", WEDDING)])
async def test_request_past_its_deadline_is_answered_503_while_postgresql_hangs(
    emma: Shopper,
    demo: Demo,
    stopped_backends: list[int],
    caplog: pytest.LogCaptureFixture,
    short_deadline: ShortDeadline,
    method: str,
    path: str,
    body: object,
) -> None:
    assert (await emma.send("GET", MINE)).status_code == 200
    found = demo.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'wishcraft' AND datname = current_database()"
    ).fetchall()
    for (pid,) in found:
        os.kill(pid, signal.SIGSTOP)
        stopped_backends.append(pid)
    assert stopped_backends
    async with asyncio.timeout(PATIENCE):
        with short_deadline():
            answer = await emma.send(method, path, body)
    assert problem(answer) == (503, "unavailable")
    assert "The answer took longer than 0.3 s" in caplog.text
    resume(stopped_backends)
    for _ in range(12):  # more than the pool's size: no connection was lost
        assert (await emma.send("GET", MINE)).status_code == 200
