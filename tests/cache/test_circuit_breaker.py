import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tests.cache.conftest import OwnValkey
from wishcraft.cache.client import Server, connect
from wishcraft.errors import CacheUnavailable


@pytest.fixture
async def guarded(own_valkey: OwnValkey) -> AsyncIterator[Server]:
    server = connect(own_valkey.url, timeout=0.2, breaks=True)
    await server.learn()
    yield server
    await server.close()


async def closes(server: Server) -> None:
    """Wait until the breaker has closed by itself."""
    assert server.breaker
    deadline = time.monotonic() + 10
    while server.breaker.is_open:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_the_first_silence_opens_and_from_then_on_nothing_is_sent(guarded: Server, own_valkey: OwnValkey) -> None:
    assert guarded.breaker
    await guarded.reads.get("k")
    own_valkey.pause()
    with pytest.raises(CacheUnavailable):
        await guarded.reads.get("k")
    assert guarded.breaker.is_open
    started = time.process_time()
    for _ in range(1000):
        with pytest.raises(CacheUnavailable, match="a moment ago"):
            await guarded.reads.get("k")
    assert time.process_time() - started < 5  # a dead connection would have cost 200 seconds of waiting
    own_valkey.resume()
    await closes(guarded)
    assert await guarded.reads.get("k") is None


@pytest.mark.parametrize("kind", ["read", "script", "ping"])
async def test_a_server_that_was_killed_is_found_again(guarded: Server, own_valkey: OwnValkey, kind: str) -> None:
    questions = {"read": lambda: guarded.reads.get("k"), "script": guarded.learn, "ping": guarded.memory}
    await asyncio.to_thread(own_valkey.kill)
    with pytest.raises(CacheUnavailable):
        await questions[kind]()
    await asyncio.to_thread(own_valkey.start)
    await closes(guarded)
    assert await guarded.reads.get("k") is None


async def test_what_must_be_done_first_is_done_before_it_closes(guarded: Server, own_valkey: OwnValkey) -> None:
    assert guarded.breaker
    done = asyncio.Event()

    async def first() -> None:
        assert await guarded.memory()  # it may ask the server itself
        with pytest.raises(CacheUnavailable):
            await asyncio.create_task(_ask(guarded))  # nobody else may
        done.set()

    guarded.breaker.before_closing = first
    await asyncio.to_thread(own_valkey.kill)
    with pytest.raises(CacheUnavailable):
        await guarded.reads.get("k")
    await asyncio.to_thread(own_valkey.start)
    await closes(guarded)
    assert done.is_set()


async def test_it_stays_open_while_what_must_be_done_first_fails(guarded: Server, own_valkey: OwnValkey) -> None:
    assert guarded.breaker
    tries = 0

    async def first() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise CacheUnavailable("gone again")

    guarded.breaker.before_closing = first
    await asyncio.to_thread(own_valkey.kill)
    with pytest.raises(CacheUnavailable):
        await guarded.reads.get("k")
    await asyncio.to_thread(own_valkey.start)
    await closes(guarded)
    assert tries == 3


async def _ask(server: Server) -> object:
    return await server.reads.get("k")
