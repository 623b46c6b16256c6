import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from tests.support.connections import listening
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.cache import client
from wishcraft.cache.client import REDIS_READ_SECONDS, Server, connect
from wishcraft.cache.lua import Script
from wishcraft.cache.shared_connection import ErrorReply, SharedConnection
from wishcraft.errors import CacheUnavailable

ECHO = Script("echo", (), ("word",), "return word")
REFUSE = Script("refuse", (), (), "return redis.error_reply('WRONG no')")


async def test_concurrent_scripts_each_get_their_own_reply(server: Server) -> None:
    replies = await asyncio.gather(*(server.run(ECHO, [{"word": number}]) for number in range(500)))
    assert replies == [[b"%d" % number] for number in range(500)]


async def test_many_calls_of_a_script_are_answered_in_their_order(server: Server) -> None:
    assert await server.run(ECHO, [{"word": number} for number in range(1234)]) == [b"%d" % n for n in range(1234)]
    assert await server.run(ECHO, []) == []


async def test_cancelled_caller_does_not_take_the_reply_of_the_next(server: Server) -> None:
    await server.run(ECHO, [{"word": "first"}])
    leaving = asyncio.create_task(server.run(ECHO, [{"word": "left"}]))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await server.run(ECHO, [{"word": "stayed"}]) == [b"stayed"]


async def test_script_that_redis_forgot_is_sent_again(own_server: Server) -> None:
    for _ in range(2):
        assert await own_server.run(ECHO, [{"word": "a"}]) == [b"a"]
        await own_server.redis.script_flush()


async def test_error_reply_is_an_answer_and_leaves_the_breaker_closed(redis_url: str) -> None:
    server = connect(redis_url, timeout=5, with_breaker=True)
    with pytest.raises(ErrorReply, match="WRONG"):
        await server._scripts.execute("EVAL", REFUSE.source, 0)
    assert server.breaker
    assert not server.breaker.is_open
    assert await server.run(ECHO, [{"word": "a"}]) == [b"a"]
    await server.close()


@pytest.fixture
async def slow() -> AsyncIterator[int]:
    """A server whose six answers take longer together than a caller waits for one: its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        for _ in range(6):
            await asyncio.sleep(0.1)
            writer.write(b"+OK\r\n")
        while await reader.read(1000):
            pass

    async with listening(answer) as port:
        yield port


async def test_limit_of_time_counts_from_the_last_reply(slow: int) -> None:
    async def make() -> SimpleNamespace:
        reader, writer = await asyncio.open_connection("127.0.0.1", slow)
        return SimpleNamespace(_reader=reader, _writer=writer)

    shared = SharedConnection(make, 0.3)
    replies = [shared.execute("PING") for _ in range(7)]
    assert await asyncio.gather(*replies[:6]) == [b"OK"] * 6
    with pytest.raises(CacheUnavailable, match=r"no reply for 0\.3 s"):
        await replies[6]
    shared.close()


async def test_read_waits_longer_for_a_new_connection_than_for_a_reply(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_at_once = client._connect

    async def connect_slowly(pool: Any) -> AbstractConnection:
        await asyncio.sleep(2 * REDIS_READ_SECONDS)  # as through TLS to another data centre
        return await connect_at_once(pool)

    monkeypatch.setattr(client, "_connect", connect_slowly)
    server = connect(redis_url, timeout=PATIENCE_SECONDS, with_breaker=True)
    assert await server.batched_reader.get("k") is None
    assert server.breaker
    assert not server.breaker.is_open
    await server.close()


async def test_lost_connection_rejects_callers_and_is_made_anew(own_valkey: OwnValkey) -> None:
    server = connect(own_valkey.url, timeout=5)
    assert await server.run(ECHO, [{"word": "a"}]) == [b"a"]
    own_valkey.pause()
    waiting = asyncio.create_task(server.run(ECHO, [{"word": "b"}]))
    await asyncio.sleep(0)
    own_valkey.kill()
    with pytest.raises(CacheUnavailable):
        await waiting
    own_valkey.start()
    assert await server.run(ECHO, [{"word": "c"}]) == [b"c"]
    await server.close()


async def test_connection_that_was_closed_while_idle_fails_no_caller(own_valkey: OwnValkey) -> None:
    server = connect(own_valkey.url, timeout=5)
    for _ in range(3):
        assert await server.run(ECHO, [{"word": "a"}]) == [b"a"]
        assert await server.batched_reader.get("k") is None
        own_valkey.kill()
        own_valkey.start()
    await server.close()


async def test_connection_that_was_lost_before_its_first_command_fails_the_callers(slow: int) -> None:
    async def make() -> SimpleNamespace:
        reader, writer = await asyncio.open_connection("127.0.0.1", slow)
        writer.close()
        await writer.wait_closed()
        return SimpleNamespace(_reader=reader, _writer=writer)

    shared = SharedConnection(make, 2 * PATIENCE_SECONDS)
    with pytest.raises(CacheUnavailable, match="the connection was lost"):
        await asyncio.wait_for(shared.execute("PING"), PATIENCE_SECONDS)
    shared.close()


async def test_connection_that_the_server_closed_before_the_first_command_fails_the_callers() -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async def make() -> SimpleNamespace:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        return SimpleNamespace(_reader=reader, _writer=writer)

    async with listening(close) as port:
        shared = SharedConnection(make, 2 * PATIENCE_SECONDS)
        with pytest.raises(CacheUnavailable, match="the connection was lost"):
            await asyncio.wait_for(shared.execute("PING"), PATIENCE_SECONDS)
        shared.close()
