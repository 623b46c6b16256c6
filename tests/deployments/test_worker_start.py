"""A worker waits for Prefect's pool, and the set-up for Prefect."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from logging.handlers import QueueHandler
from queue import SimpleQueue
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments import prefect_setup, worker
from deployments.sandbox.processes import free_port
from tests.support.connections import listening
from tests.support.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.usefixtures("prefect_server")
POOL = "not-yet"
INTERVAL = 0.01
REFUSALS = (b"502 Bad Gateway\r\n", b"503 Service Unavailable\r\nRetry-After: 3600\r\n")


@pytest.fixture
def logged() -> Iterator[SimpleQueue[logging.LogRecord]]:
    """The log lines of the worker."""
    records = SimpleQueue[logging.LogRecord]()
    handler, logger = QueueHandler(records), logging.getLogger("prefect.deployments.worker")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


async def test_worker_waits_until_the_pool_is_created(logged: SimpleQueue[logging.LogRecord]) -> None:
    waiting = asyncio.create_task(worker.wait_for_pool(INTERVAL, pool=POOL))
    warning = await asyncio.to_thread(logged.get)
    assert "no work pool not-yet yet" in warning.getMessage()
    assert not waiting.done()
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        await waiting
        await client.delete_work_pool(POOL)
    assert logged.empty()


async def test_worker_that_waits_logs_an_outage_of_prefect_once(logged: SimpleQueue[logging.LogRecord]) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        waiting = asyncio.create_task(worker.wait_for_pool(INTERVAL, start_seconds=0))
        error = await asyncio.to_thread(logged.get)
    assert "Prefect does not answer; the worker keeps trying" in error.getMessage()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    assert logged.empty()


@asynccontextmanager
async def starting_prefect(refusal: bytes, answer: dict[str, str]) -> AsyncIterator[list[bytes]]:
    """Let PREFECT_API_URL name a proxy that refuses some requests, then has Prefect's answer; its answers to come."""
    body = json.dumps(answer).encode()
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)]
    answers += [b"HTTP/1.1 %bContent-Length: 0\r\n\r\n" % refusal] * 8

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answers.pop())

    async with listening(converse) as port:
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
            yield answers


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_worker_asks_again_soon_whatever_a_proxy_answers_while_prefect_starts(refusal: bytes) -> None:
    pool = {"name": POOL, "type": "process", "default_queue_id": str(UUID(int=1))}
    async with starting_prefect(refusal, pool) as answers:
        await asyncio.wait_for(worker.wait_for_pool(INTERVAL, request_seconds=0.1), PATIENCE_SECONDS)
    assert not answers


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_set_up_asks_again_soon_whatever_a_proxy_answers_while_prefect_starts(refusal: bytes) -> None:
    async with starting_prefect(refusal, {}) as answers, get_client() as client:
        await asyncio.wait_for(prefect_setup._wait_for_server(client, request_seconds=0.1), PATIENCE_SECONDS)
    assert not answers


async def test_set_up_renews_the_template_of_a_pool_and_keeps_its_pause_and_its_limit() -> None:
    async with get_client() as client:
        await prefect_setup._prepare_pool(client, POOL)
        by_hand = WorkPoolUpdate(is_paused=True, concurrency_limit=3, base_job_template={})
        await client.update_work_pool(POOL, by_hand)
        await prefect_setup._prepare_pool(client, POOL)
        pool = await client.read_work_pool(POOL)
        await client.delete_work_pool(POOL)
    assert (pool.is_paused, pool.concurrency_limit) == (True, 3)
    assert pool.base_job_template == prefect_setup.JOB_TEMPLATE
