"""A worker waits for Prefect's pool."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from logging.handlers import QueueHandler
from queue import SimpleQueue
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import worker
from deployments.sandbox.processes import free_port
from tests.support.connections import listening
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("prefect_server")
POOL = "not-yet"
INTERVAL = 0.01


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleQueue[logging.LogRecord]]:
    """What the worker logs, in a process whose pool is `POOL`."""
    records = SimpleQueue[logging.LogRecord]()
    handler, logger = QueueHandler(records), logging.getLogger("prefect.deployments.worker")
    monkeypatch.setattr(worker, "POOL", POOL)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


async def test_worker_waits_until_the_pool_is_created(logged: SimpleQueue[logging.LogRecord]) -> None:
    waiting = asyncio.create_task(worker.wait_for_pool(INTERVAL))
    warning = await asyncio.to_thread(logged.get)
    assert "no work pool not-yet yet" in warning.getMessage()
    assert not waiting.done()
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        await waiting
        await client.delete_work_pool(POOL)
    assert logged.empty()


async def test_worker_that_waits_logs_an_outage_of_prefect_once(
    logged: SimpleQueue[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_PREFECT_START_SECONDS", 0)
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        waiting = asyncio.create_task(worker.wait_for_pool(INTERVAL))
        error = await asyncio.to_thread(logged.get)
    assert "Prefect does not answer; the worker keeps trying" in error.getMessage()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert logged.empty()


@pytest.mark.parametrize("refusal", [b"502 Bad Gateway\r\n", b"503 Service Unavailable\r\nRetry-After: 3600\r\n"])
async def test_worker_asks_again_soon_whatever_a_proxy_answers_while_prefect_starts(
    monkeypatch: pytest.MonkeyPatch, refusal: bytes
) -> None:
    monkeypatch.setattr(worker, "_REQUEST_SECONDS", 0.1)
    pool = json.dumps({"name": POOL, "type": "process", "default_queue_id": str(UUID(int=1))}).encode()
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(pool), pool)]
    answers += [b"HTTP/1.1 %bContent-Length: 0\r\n\r\n" % refusal] * 8

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answers.pop())

    async with listening(answer) as port:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            await asyncio.wait_for(worker.wait_for_pool(INTERVAL), PATIENCE_SECONDS)
    assert not answers
