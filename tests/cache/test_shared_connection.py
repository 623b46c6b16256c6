import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
import uvloop
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from tests.support.certificate import write_certificate
from tests.support.connections import listening
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from wishcraft.cache import client
from wishcraft.cache.client import REDIS_READ_SECONDS, Server, connect
from wishcraft.cache.lua import Script
from wishcraft.cache.shared_connection import ErrorReply, SharedConnection
from wishcraft.errors import CacheUnavailable

ECHO = Script("echo", (), ("word",), "return word")
REFUSE = Script("refuse", (), (), "return redis.error_reply('WRONG no')")


def connector(port: int, tls: ssl.SSLContext | None = None) -> Callable[[], Awaitable[SimpleNamespace]]:
    """What makes connections, as redis-py has them, to a server that a test writes."""

    async def make() -> SimpleNamespace:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        return SimpleNamespace(_reader=reader, _writer=writer)

    return make


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
    shared = SharedConnection(connector(slow), 0.3)
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


async def test_lost_connection_rejects_callers_and_is_made_again(own_valkey: OwnValkey) -> None:
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


async def test_connection_that_the_server_closed_before_any_command_fails_the_callers() -> None:
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


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_command_right_after_close_is_answered(turns: int) -> None:
    """The connection that was being made ends in a later turn of the event loop, or has not begun."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(100):
            writer.write(b"+PONG\r\n")

    async with listening(answer) as port:
        shared = SharedConnection(connector(port), 2 * PATIENCE_SECONDS)
        first = shared.execute("PING")
        for _ in range(turns):
            await asyncio.sleep(0)
        shared.close()
        with pytest.raises(CacheUnavailable, match="the connection was closed"):
            await first
        for _ in range(2):
            second = shared.execute("PING")
            assert await asyncio.wait_for(second, PATIENCE_SECONDS) == b"PONG"
        shared.close()


async def test_no_connection_is_left_wherever_its_making_is_cancelled(own_valkey: OwnValkey) -> None:
    async with Redis.from_url(own_valkey.url) as administrator:
        for turns in range(1, 30):
            server = connect(own_valkey.url, timeout=PATIENCE_SECONDS)
            reply = server._reads.execute("GET", "k")
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.close()
            await asyncio.gather(reply, return_exceptions=True)

        async def is_alone() -> bool:
            return len(await administrator.client_list()) == 1

        await wait_until(is_alone)


async def test_server_that_closes_after_each_reply_delays_no_caller() -> None:
    """The next command may be sent just before the end of the connection is seen: that one alone fails."""

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(100):
            writer.write(b"$5\r\nreply\r\n")

    async def ask() -> bytes | None:
        try:
            return await asyncio.wait_for(shared.execute("GET", "k"), PATIENCE_SECONDS)
        except CacheUnavailable:
            return None

    async with listening(answer_once) as port:
        shared = SharedConnection(connector(port), 2 * PATIENCE_SECONDS)
        replies = [await ask() for _ in range(20)]
        shared.close()
    assert set(replies) <= {b"reply", None}
    assert all(one or following for one, following in pairwise(replies))


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_reply_to_nothing_is_not_taken_for_that_of_the_next_command(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def answer_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await reader.read(100):
            value = command.split(b"\r\n")[4]
            writer.write(b"$%d\r\n%b\r\n" % (len(value), value))
            await asyncio.sleep(0)
            writer.write(b"$5\r\nextra\r\n")

    async def read_all() -> set[bool]:
        right = set[bool]()
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # of a reply that comes while none is due
        async with listening(answer_more) as port:
            shared = SharedConnection(connector(port), PATIENCE_SECONDS)
            for number in range(200):
                with suppress(CacheUnavailable):
                    right.add(await shared.execute("GET", f"k{number}") == b"k%d" % number)
            shared.close()
        return right

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(read_all()) == {True}


LARGE: Final = {
    f"large:{number}": bytes([65 + number]) * size for number, size in enumerate((1, 200_000, 6_000, 3_000_000))
}


async def test_replies_that_are_larger_than_what_is_read_at_once_come_whole(server: Server, redis: Redis) -> None:
    for key, value in LARGE.items():
        await redis.set(key, value, ex=60)
    for _ in range(3):
        replies = await asyncio.gather(*(server.batched_reader.get(key) for key in [*LARGE, "none"]))
        assert replies == [*LARGE.values(), None]


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_large_replies_come_whole_over_tls(make_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    """asyncio reads TLS into slices of the buffer, and uvloop in another way."""
    certificate = write_certificate(tmp_path / "certificate.pem")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate)
    client_side = ssl.create_default_context(cafile=certificate)
    client_side.check_hostname = False

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await reader.read(100):
            value = LARGE[command.split(b"\r\n")[4].decode()]
            writer.write(b"$%d\r\n%b\r\n" % (len(value), value))
            await writer.drain()

    async def read_all() -> list[object]:
        async with listening(answer, tls=server_side) as port:
            shared = SharedConnection(connector(port, client_side), PATIENCE_SECONDS)
            replies = [await shared.execute("GET", key) for key in LARGE]
            shared.close()
        return replies

    with asyncio.Runner(loop_factory=make_loop) as runner:
        assert runner.run(read_all()) == list(LARGE.values())
