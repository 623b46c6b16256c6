"""Connections to the fast path: what it does not recognise as a whole request goes to uvicorn's protocol unchanged."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pytest
from fastapi import FastAPI
from uvicorn.server import ServerState

from api.app import create_app, create_service
from api.fast_path import FastProtocol
from api.server import LimitedProtocol, make_config
from tests.support.aliases import Demo
from tests.support.hypothesis_profiles import examples
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from wishcraft.cache.batched_reader import OnReply
from wishcraft.domain.rate_limits import Policy
from wishcraft.errors import CacheUnavailable
from wishcraft.settings import Settings

Query = Callable[..., str]
VOLATILE: Final = re.compile(rb"(?:ratelimit|x-request-id|date|x-cache): [^\r]*\r\n")
END: Final = b"Host: api\r\nUser-Agent: test\r\n\r\n"
SPECIAL: Final = (
    *(bytes([each]) for each in b"\r\n \t\0\xff%#?&=/:"),
    *(b"..", b"//", b"\r\n", b"\r\n\r\n", b"HTTP/1.0", b"HEAD ", b"grant=x", b" HTTP/1.1\r\nX: "),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Host: other\r\n"),
    *(b"Upgrade: websocket\r\n", b"Expect: 100-continue\r\n", b"Origin: https://a.example\r\n", b"X-API-Key: a\r\n"),
    *(b"X-Forwarded-For: 1.2.3.4\r\n", b"If-None-Match: *\r\n", b"X-Customer-Id: 1\r\n"),
)
"""Bytes that mutations insert."""


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = self.is_paused = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written += data

    def writelines(self, parts: Sequence[bytes]) -> None:
        self.write(b"".join(parts))

    def close(self) -> None:
        self.is_closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 40_000) if name in {"peername", "sockname"} else default


class Link:
    """A connection to a protocol, without a socket."""

    def __init__(self, make: Callable[..., LimitedProtocol], app: FastAPI) -> None:
        config = make_config(create_service(app), make)
        config.load()
        self.state = ServerState()
        self.protocol = make(config=config, server_state=self.state, app_state={})
        self.wire = Wire()
        self.protocol.connection_made(self.wire)

    async def send(self, *parts: bytes) -> bytes:
        """Send the parts, each in a turn of its own: what was written until all requests that began have ended."""
        for part in parts:
            await wait_until(lambda: not self.wire.is_paused or self.wire.is_closed, pause=0)
            if not self.wire.is_closed:
                self.protocol.data_received(part)
            await asyncio.sleep(0)
        await self.settle()
        return self.wire.written

    async def settle(self) -> None:
        """Wait for the answers to all requests that have arrived as a whole."""
        await wait_until(lambda: getattr(self.protocol, "_request", None) is None, pause=0)
        while self.state.tasks:
            done, pending = await asyncio.wait(self.state.tasks, timeout=PATIENCE_SECONDS)
            if not done:  # it waits for more of a body
                self.protocol.connection_lost(None)
                await asyncio.wait(pending)
        await asyncio.sleep(0)  # the buffer is sent

    def close(self) -> None:
        if self.protocol.parser is not None:
            self.protocol.connection_lost(None)


class World:
    """An application over the demo shops, whose cache is warm, and requests for its registries."""

    def __init__(self, app: FastAPI, slugs: Sequence[str], query: str) -> None:
        self.app, self.slugs, self.query = app, slugs, query
        self._links: list[Link] = []

    def fast(self) -> Link:
        return self._keep(Link(lambda **config: FastProtocol(self.app.state, **config), self.app))

    def plain(self) -> Link:
        return self._keep(Link(LimitedProtocol, self.app))

    def get(self, number: int = 0, end: bytes = END) -> bytes:
        return f"GET /api/registries/{self.slugs[number % len(self.slugs)]}?{self.query} HTTP/1.1\r\n".encode() + end

    @contextmanager
    def redis_paused(self) -> Iterator[list[OnReply]]:
        """Keep reads from Redis waiting until the end of the block: their callbacks."""
        waiting: list[OnReply] = []
        reader = self.app.state.app_state.resources.redis.batched_reader
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader, "read", lambda _key, on_reply, **_: waiting.append(on_reply))
            yield waiting

    def close(self) -> None:
        for link in self._links:
            link.close()

    def _keep(self, link: Link) -> Link:
        self._links.append(link)
        return link


@pytest.fixture
async def world(settings: Settings, demo: Demo, signed: Query, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("api.auth.authenticator._REFUSALS", Policy("refused", 10**9, 60))
    rows = demo.execute("SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active'")
    app = create_app(settings.model_copy(update={"rate_limit_per_minute": 10**9}))
    async with app.router.lifespan_context(app):
        world = World(app, [slug for (slug,) in rows.fetchall()], signed(customer_id=5))
        for number in range(len(world.slugs)):
            await world.fast().send(world.get(number))
        yield world
        world.close()


def stable(answers: bytes) -> bytes:
    return VOLATILE.sub(b"", answers)


def bodies(answers: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each of several responses."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length and not head.startswith(b"HTTP/1.1 304") else 0
        found.append((int(head.split(b" ")[1]), rest[:size]))
        answers = rest[size:]
    return found


async def test_hit_is_written_at_once_without_a_task(world: World) -> None:
    link = world.fast()
    link.protocol.data_received(world.get())
    assert not link.state.tasks
    assert (await link.send()).startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-cache: hit\r\n" in link.wire.written


async def test_request_cut_at_any_byte_gets_the_same_answer(world: World) -> None:
    whole = stable(await world.fast().send(world.get()))
    request = world.get()
    for cut in range(1, len(request), 1 if examples(quick=0, deep=1) else 7):
        assert stable(await world.fast().send(request[:cut], request[cut:])) == whole, cut


async def test_mutated_requests_get_the_answers_of_uvicorns_protocol(world: World) -> None:
    chance = random.Random(20)  # noqa: S311  the same requests every time
    statuses = set()
    for _ in range(examples(quick=250, deep=10_000)):
        request = bytearray(world.get(end=END.replace(b"\r\n\r\n", b"\r\nAccept: */*\r\n\r\n")))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(request) + 1)
            kind = chance.randrange(4)
            if kind == 0:
                request[at:at] = chance.choice(SPECIAL)
            elif kind == 1 and at < len(request):
                request[at] = chance.randrange(256)
            elif kind == 2:
                del request[at : at + chance.randint(1, 8)]
            else:  # at the beginning of a header
                lines = [match.end() for match in re.finditer(rb"\r\n", bytes(request))][:-1]
                at = chance.choice(lines or [0])
                request[at:at] = chance.choice(SPECIAL)
        fast, plain = world.fast(), world.plain()
        expected = stable(await plain.send(bytes(request)))
        assert stable(await fast.send(bytes(request))) == expected, bytes(request)
        assert fast.wire.is_closed == plain.wire.is_closed, bytes(request)
        statuses.add(expected[9:12])
        fast.close()
        plain.close()
    assert statuses >= {b"200", b"400", b"401", b"404"}


async def test_answers_have_the_order_of_the_requests_however_they_are_cut(world: World) -> None:
    requests = [
        world.get(0),
        f"GET /api/registries?{world.query} HTTP/1.1\r\n".encode() + END,
        world.get(1),
        world.get(2, b"If-None-Match: *\r\n" + END),
        b"GET /api/registries/no-such-registry?" + world.query.encode() + b" HTTP/1.1\r\n" + END,
        b"POST /api/registries HTTP/1.1\r\nContent-Length: 3\r\n" + END + b"abc",
        world.get(3),
        b"GET /api/registries/a HTTP/1.1\r\n" + END,
        world.get(0, b"Origin: https://a.example\r\n" + END),
        world.get(1),
    ]
    await world.plain().send(requests[1])  # from now on its body is the same
    expected = [bodies(await world.plain().send(request))[0] for request in requests]
    chance = random.Random(21)  # noqa: S311  the same cuts every time
    stream = b"".join(requests)
    for _ in range(examples(quick=15, deep=1_000)):
        cuts = sorted(chance.sample(range(1, len(stream)), chance.randint(0, 25)))
        if chance.random() < 0.5:  # at the ends of some requests
            ends = [sum(map(len, requests[:number])) for number in range(1, len(requests))]
            cuts = sorted({*cuts[:5], *chance.sample(ends, chance.randint(1, len(ends)))})
        link = world.fast()
        parts = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert bodies(await link.send(*parts)) == expected, cuts
        link.close()


async def test_body_that_looks_like_a_request_is_not_answered_after_an_early_refusal(world: World) -> None:
    link, request = world.fast(), world.get(1)
    head = b"POST /api/registries HTTP/1.1\r\nX-API-Key: wc_x\r\nContent-Length: %d\r\n" % (2 * len(request))
    refused = await link.send(head + END)
    assert bodies(refused)[0][0] == 401
    assert await link.send(request) == refused
    assert await link.send(request) == refused
    assert [status for status, _ in bodies(await link.send(request))] == [401, 200]


async def test_body_of_chunks_that_look_like_requests_is_not_answered(world: World) -> None:
    link, request = world.fast(), world.get(1)
    head = b"POST /api/registries HTTP/1.1\r\nX-API-Key: wc_x\r\nTransfer-Encoding: chunked\r\n" + END
    refused = await link.send(head + b"%x\r\n" % len(request))
    assert bodies(refused)[0][0] == 401
    assert await link.send(request, b"\r\n0\r\nTrailer: x\r\n") == refused
    answers = await link.send(b"\r\n", request)
    assert [status for status, _ in bodies(answers)] == [401, 200]


@pytest.mark.parametrize(
    "head",
    [b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"],
)
async def test_connection_that_asked_for_an_upgrade_is_uvicorns(world: World, head: bytes) -> None:
    fast, plain = world.fast(), world.plain()
    parts = (world.get(0, head + END), world.get(1), world.get(2))
    assert stable(await fast.send(*parts)) == stable(await plain.send(*parts))


async def test_request_that_comes_during_a_read_waits_for_its_answer(world: World) -> None:
    expected = [bodies(await world.fast().send(world.get(number)))[0] for number in (0, 1)]
    raw = [await entry(world, number) for number in (0, 1)]
    link = world.fast()
    with world.redis_paused() as waiting:
        link.protocol.data_received(world.get(0))
        link.protocol.data_received(world.get(1))
        assert (len(waiting), link.wire.written) == (1, b"")
        waiting.pop()(raw[0])
        waiting.pop()(raw[1])
    assert bodies(link.wire.written) == expected


async def test_what_is_held_during_a_read_is_bounded(world: World) -> None:
    raw = await entry(world, 0)
    link = world.fast()
    with world.redis_paused() as waiting:
        link.protocol.data_received(world.get(0))
        link.protocol.data_received(b"POST /x HTTP/1.1\r\nContent-Length: 99999\r\n" + END)
        assert not link.wire.is_paused
        link.protocol.data_received(b"x" * 40_000)
        assert link.wire.is_paused
        waiting.pop()(raw)
    assert not link.wire.is_paused
    assert bodies(await link.send())[0][0] == 200


async def test_route_answers_what_redis_does_not(world: World) -> None:
    expected = stable(await world.fast().send(world.get(0)))
    for reply in (CacheUnavailable("a test"), None, b"", b"another format", b"\x04" + bytes(60)):
        link = world.fast()
        with world.redis_paused() as waiting:
            link.protocol.data_received(world.get(0))
        waiting.pop()(reply)
        assert stable(await link.send()) == expected


async def test_lost_connection_gets_no_answer(world: World) -> None:
    raw = await entry(world, 0)
    for reply in (raw, None):
        link = world.fast()
        with world.redis_paused() as waiting:
            link.protocol.data_received(world.get(0))
        link.wire.close()
        link.protocol.connection_lost(None)
        waiting.pop()(reply)
        assert (link.wire.written, link.state.tasks) == (b"", set())


@pytest.mark.parametrize("by_route", [False, True])
async def test_shutdown_answers_the_request_that_is_under_way(world: World, *, by_route: bool) -> None:
    raw = None if by_route else await entry(world, 0)
    link = world.fast()
    with world.redis_paused() as waiting:
        link.protocol.data_received(world.get(0))
    link.protocol.shutdown()
    assert not link.wire.is_closed
    waiting.pop()(raw)
    answer = await link.send()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert link.wire.is_closed


async def test_draining_process_closes_the_connection(world: World) -> None:
    world.app.state.app_state.draining = True
    link = world.fast()
    answer = await link.send(world.get(0))
    assert (bodies(answer)[0][0], b"\r\nconnection: close\r\n" in answer, link.wire.is_closed) == (200, True, True)


async def test_idle_connection_is_closed_and_a_busy_one_is_not(world: World) -> None:
    link = world.fast()
    await link.send(world.get(0))
    link.protocol.timeout_keep_alive_handler()
    assert not link.wire.is_closed
    link.protocol.timeout_keep_alive = 0
    with world.redis_paused() as waiting:
        link.protocol.data_received(world.get(0))
    link.protocol.timeout_keep_alive_handler()
    assert not link.wire.is_closed
    waiting.pop()(None)
    await link.send()
    link.protocol.timeout_keep_alive_handler()
    assert link.wire.is_closed


async def test_idle_connection_stays_for_longer_than_proxies_keep_theirs(world: World) -> None:
    link = world.fast()
    await link.send(world.get(0))
    assert isinstance(link.protocol, FastProtocol)
    link.protocol._answered_at -= 61
    link.protocol.timeout_keep_alive_handler()
    assert not link.wire.is_closed


async def test_timer_of_an_idle_connection_rests_while_a_read_is_under_way(world: World) -> None:
    link = world.fast()
    await link.send(world.get(0))
    assert isinstance(link.protocol, FastProtocol)
    link.protocol._answered_at -= link.protocol.timeout_keep_alive
    with world.redis_paused() as waiting:
        link.protocol.data_received(world.get(0))
    now = link.protocol.loop.time()
    link.protocol.timeout_keep_alive_handler()
    timer = link.protocol.timeout_keep_alive_task
    assert timer
    assert timer.when() >= now + link.protocol.timeout_keep_alive
    waiting.pop()(None)
    await link.send()


async def test_client_that_does_not_read_waits_on_the_route(world: World) -> None:
    link = world.fast()
    link.protocol.pause_writing()
    link.protocol.data_received(world.get(0))
    assert link.state.tasks
    link.protocol.resume_writing()
    assert bodies(await link.send())[0][0] == 200


async def entry(world: World, number: int) -> bytes:
    reader = world.app.state.app_state.resources.redis.batched_reader
    raw = await reader.get(f"wishcraft:{{1}}:entry:{world.slugs[number]}")
    assert isinstance(raw, bytes)
    return raw
