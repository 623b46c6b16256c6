import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.support.connections import listening
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.cache.batched_reader import BatchedReader
from wishcraft.cache.client import Server, connect
from wishcraft.cache.entries import HEADER_SIZE
from wishcraft.cache.shared_connection import SharedConnection
from wishcraft.errors import CacheUnavailable
from wishcraft.observability.context import current_context, log_context


async def calls(redis: Redis, command: str) -> int:
    stats: dict[str, Any] = await redis.info("commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """A server that never answers: its URL."""

    async def listen(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    async with listening(listen) as port:
        yield f"redis://127.0.0.1:{port}"


async def test_reads_of_one_turn_are_one_command_and_each_gets_its_own(own_server: Server) -> None:
    redis = own_server.redis  # of this test alone: a server counts the commands of all its databases
    for number in range(20):
        await redis.set(f"k{number}", b"v%d" % number, ex=60)
    await own_server.batched_reader.get("k0")
    before = await calls(redis, "mget")
    names = [f"k{number % 25}" for number in range(500)]
    values = await asyncio.gather(*(own_server.batched_reader.get(name) for name in names))
    assert values == [b"v" + name[1:].encode() if int(name[1:]) < 20 else None for name in names]
    assert await calls(redis, "mget") == before + 1


async def test_headers_are_read_with_the_values_of_the_same_turn(server: Server, redis: Redis) -> None:
    replies: list[object] = []
    for number in range(3):
        await redis.set(f"h{number}", bytes(range(100)) + b"%d" % number, ex=60)
    await redis.lpush("no-string", "x")
    await redis.expire("no-string", 60)
    reader = server.batched_reader
    for key in ("h0", "h0", "none", "no-string", "h1\u00e9"):
        reader.read(key, replies.append, only_header=True)
    assert await reader.get("h2") == bytes(range(100)) + b"2"
    reader.read("h1", replies.append, only_header=True)
    await reader.get("h2")  # sent before the header of the same turn
    await reader.get("h2")
    header = bytes(range(HEADER_SIZE))
    assert [replies[index] for index in (0, 1, 2, 4, 5)] == [header, header, None, None, header]
    assert isinstance(replies[3], CacheUnavailable)


async def test_cancelled_reader_does_not_cancel_other_readers_of_the_key(server: Server, redis: Redis) -> None:
    await redis.set("k", b"v", ex=60)
    leaving, staying = server.batched_reader.get("k"), server.batched_reader.get("k")
    leaving.cancel()
    assert await staying == b"v"


async def test_reader_that_fails_with_the_reply_keeps_no_other_waiting(
    server: Server, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.set("k", b"v", ex=60)

    def fail(_: object) -> None:
        raise RuntimeError("a bug")

    server.batched_reader.read("k", fail)
    others = [server.batched_reader.get(name) for name in ("k", "none")]
    assert await asyncio.gather(*others) == [b"v", None]
    assert "A reader of Redis failed" in caplog.text


@pytest.mark.parametrize("wrong", [b"*1\r\n$5\r\nvalue\r\n", b"+OK\r\n", b":2\r\n", b"$2\r\nok\r\n", b"$-1\r\n"])
async def test_reply_of_another_command_ends_the_connection_and_keeps_no_reader_waiting(wrong: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(100):
            writer.write(wrong if len(made) == 1 else b"*1\r\n$5\r\nvalue\r\n")

    async def make() -> SimpleNamespace:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        made.append(writer)
        return SimpleNamespace(_reader=reader, _writer=writer)

    made: list[asyncio.StreamWriter] = []
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
    async with listening(answer) as port:
        shared = SharedConnection(make, 2 * PATIENCE_SECONDS)
        reader = BatchedReader(shared)
        outcomes = await asyncio.wait_for(
            asyncio.gather(reader.get("k"), reader.get("l"), reader.get("l"), return_exceptions=True), PATIENCE_SECONDS
        )
        assert [str(outcome) for outcome in outcomes] == ["the reply is that of another command"] * 3
        assert await reader.get("k") == b"value"
        shared.close()
    assert len(made) == 2
    assert "a reply to MGET has another number of values" in reported


async def test_reply_longer_than_a_packet_is_complete(server: Server, redis: Redis) -> None:
    await redis.set("long", b"x" * 3_000_000, ex=60)
    await redis.set("short", b"y", ex=60)
    long, short = await asyncio.gather(server.batched_reader.get("long"), server.batched_reader.get("short"))
    assert (len(long or b""), short) == (3_000_000, b"y")


async def test_lost_connection_is_replaced(own_valkey: OwnValkey) -> None:
    server = connect(own_valkey.url, timeout=5)
    await server.redis.set("k", b"v", ex=60)
    assert await server.batched_reader.get("k") == b"v"
    await server.redis.client_kill_filter(_type="normal", skipme=True)
    for _ in range(2):
        try:
            assert await server.batched_reader.get("k") == b"v"
        except CacheUnavailable:  # the loss may be noticed with the next command only
            continue
    assert await server.batched_reader.get("k") == b"v"
    await server.close()


async def test_server_that_never_answers_times_out(silent: str) -> None:
    server = connect(silent, timeout=0.05)
    with pytest.raises(CacheUnavailable):
        await server.batched_reader.get("k")
    await server.close()


async def test_server_that_hangs_after_a_first_reply_times_out(own_valkey: OwnValkey) -> None:
    server = connect(own_valkey.url, timeout=2)
    assert await server.batched_reader.get("k") is None
    own_valkey.pause()
    with pytest.raises(CacheUnavailable):
        await asyncio.gather(*(server.batched_reader.get(f"k{number}") for number in range(50)))
    own_valkey.resume()
    assert await server.batched_reader.get("k") is None
    await server.close()


async def test_close_rejects_waiting_readers(own_valkey: OwnValkey) -> None:
    server = connect(own_valkey.url, timeout=5)
    await server.batched_reader.get("k")
    own_valkey.pause()
    waiting = server.batched_reader.get("k")
    await asyncio.sleep(0)
    await server.close()
    with pytest.raises(CacheUnavailable):
        await waiting
    own_valkey.resume()


async def test_error_reply_raises_and_the_connection_stays_usable(own_valkey: OwnValkey) -> None:
    server = connect(own_valkey.url, timeout=5)
    assert await server.batched_reader.get("k") is None
    await server.redis.execute_command("ACL", "SETUSER", "default", "-mget")  # type: ignore[no-untyped-call]
    with pytest.raises(CacheUnavailable, match="NOPERM"):
        await server.batched_reader.get("k")
    await server.redis.execute_command("ACL", "SETUSER", "default", "+mget")  # type: ignore[no-untyped-call]
    assert await server.batched_reader.get("k") is None
    await server.close()


async def test_shared_connection_is_made_outside_any_log_context() -> None:
    contexts: list[dict[str, str]] = []

    async def refuse() -> None:
        contexts.append(dict(current_context()))
        raise ConnectionRefusedError

    with log_context(request_id="the-first-reader"), pytest.raises(CacheUnavailable):
        await SharedConnection(refuse, 5).execute("PING")
    assert contexts == [{}]
