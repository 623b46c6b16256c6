"""An answer leaves in time, whatever it waits for; and it is told whose fault that was."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from psycopg import Connection

from tests.api.conftest import WEDDING, Visitor, problem

Demo = Connection[tuple[Any, ...]]
MINE = "/api/my-registries"
PATIENCE = 5.0
"""Seconds: far more than the time that an answer has here, and less than PostgreSQL's cancellation takes."""


@pytest.fixture(autouse=True)
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.middleware.request.LONGEST_SECONDS", 0.3)


@pytest.fixture
def stopped_backends(client: httpx.AsyncClient) -> Iterator[list[int]]:
    """The server's processes for the API's connections: those that are in the list are let go on at the end."""
    assert not client.is_closed
    stopped: list[int] = []
    yield stopped
    let_go_on(stopped)


def let_go_on(stopped: list[int]) -> None:
    while stopped:
        os.kill(stopped.pop(), signal.SIGCONT)


async def half_a_body() -> AsyncIterator[bytes]:
    yield b'{"title": "Emm'
    await asyncio.Event().wait()


async def test_who_sends_a_body_too_slowly_is_told_so_and_nobody_is_alarmed(
    emma: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await emma.send("POST", "/api/registries", half_a_body())
    assert problem(answer) == (408, "request-timeout")
    assert answer.headers["connection"] == "close"
    ours = [record for record in caplog.records if record.name.startswith(("api", "wishcraft"))]
    assert not [record for record in ours if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(("method", "path", "body"), [("GET", MINE, None), ("POST", "/api/registries", WEDDING)])
async def test_an_answer_does_not_wait_for_a_database_that_hangs(
    emma: Visitor,
    demo: Demo,
    stopped_backends: list[int],
    caplog: pytest.LogCaptureFixture,
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
        answer = await emma.send(method, path, body)
    assert problem(answer) == (503, "unavailable")
    assert "The answer took longer than 0.3 s" in caplog.text
    let_go_on(stopped_backends)
    for _ in range(12):  # more than the pool has: none of its connections was lost
        assert (await emma.send("GET", MINE)).status_code == 200
