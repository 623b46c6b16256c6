"""The serving table: what a request costs the process that answers it, beside the floor and what else one would build.

All servers have the same load on them, one at a time.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from redis import Redis

from benchmarks import mix
from benchmarks.calls import KEYS, SIGNED
from benchmarks.load import CONNECTIONS, Plan
from benchmarks.peers.node import FOLDER, NoNodeError, fastify_command
from benchmarks.peers.stored import stored_key, stored_value
from benchmarks.servers import running_servers
from benchmarks.web import WebServer
from benchmarks.weighing import Answer, Row, Scales, check_same, read_each, scales
from wishcraft.resources import open_resources
from wishcraft.settings import Settings

REGISTRIES: Final = 1_400
"""Of which about a thousand are open to everybody."""

API: Final = (sys.executable, "-m", "api")
WITH_SENTRY: Final = ("env", "SENTRY_DSN=http://key@127.0.0.1:9/1", *API)  # the port where nothing listens
PEER: Final = (sys.executable, "-m", "benchmarks.peers")
PEERS: Final = (
    ("FastAPI + redis.asyncio GET, bytes", "plain", 1),
    ("FastAPI + cashews, on the route", "by_cashews", 5),
    ("FastAPI + cashews, bytes", "by_cashews_bytes", 5),
    ("FastAPI + fastapi-cache2, on the route", "by_fastapi_cache", 5),
    ("FastAPI + PostgreSQL, no cache", "uncached", 5),
)
"""What is said of it, its module, and how much fewer requests it is measured by: slow ones show as much in less."""
_SAMPLE: Final = 100

HEADING: Final = (
    f"{'what':<46} {'us CPU':>7} {'floor':>7} {'a second':>9} {'p50 ms':>6} {'p95':>6} {'p99':>6}"
    f" {'queries':>7} {'us DB':>6} {'hits':>6} {'MiB':>4}"
)
NOTES: Final = f"""
us CPU    microseconds of the web server's one process for each answer, in user and system mode: what to go by
floor     how many times as many as the first line, which is uvicorn's own share
a second  answers, with the load, PostgreSQL and Redis on the same processors
p50 ms …  until all of the answer is there, under full load: {CONNECTIONS} keep-alive connections, each with its next
          request at once
queries   of PostgreSQL for each answer, counted by itself; BEGIN, COMMIT and SET are none, a connection's ping is
us DB     microseconds that PostgreSQL worked on those, planning left out; what hits come to is the counting of views
hits      how many answers said `X-Cache: hit` or `stale`
MiB       what the process held in the end
All read about a thousand registries, with {KEYS} keys and {SIGNED} signatures of three shops. Peers check the signature
too, and give the same answers, which is checked. The mix is 99 % reads and 1 % writes of registries that are as popular
as Zipf has it; the writes' own queries are counted too."""


def print_table(requests: int) -> None:
    """Measure on servers of its own; each line is printed when it is ready, and all of them in the end."""
    table = [HEADING]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="wishcraft-bench-")))
        running = stack.enter_context(running_servers(folder, REGISTRIES, counts_queries=True))
        print(HEADING, flush=True)
        for line in _lines(stack.enter_context(scales(running, folder, requests))):
            table.append(line)
            print(line, flush=True)
    print("", *table, NOTES, sep="\n")


def _lines(own: Scales) -> Iterator[str]:
    floor = _floor(own)
    yield floor.formatted(floor.cpu)
    asyncio.run(_wait_for_fills(own.running.settings))
    expected = _read_all(own)
    _stock(own, expected)
    for row in chain(_wishcraft(own, expected), _peers(own, expected)):
        yield row.formatted(floor.cpu) if isinstance(row, Row) else row
    cached = _mix(own, "WishCraft, mix, from an empty cache", API, 2 * own.requests, is_cached=True)
    yield cached.formatted(floor.cpu)
    uncached = _mix(own, "FastAPI + PostgreSQL, no cache, mix", (*PEER, "uncached"), own.requests // 5, is_cached=False)
    yield uncached.formatted(floor.cpu)
    yield _relief(cached, uncached)


def _floor(own: Scales) -> Row:
    what = "uvicorn, bare ASGI, constant body: the floor"
    with own.server(*PEER, "floor") as server:
        return own.weigh(what, server, own.calls.signed(), count=2 * own.requests)


async def _wait_for_fills(settings: Settings) -> None:
    """A server of Redis that has just started takes no entries for a while."""
    async with open_resources(settings) as resources:
        await resources.cache.ready_to_fill()


def _read_all(own: Scales) -> list[Answer]:
    """What the API answers, read once before anything is measured: peers are held to it."""
    with own.server(*API) as server:
        return read_each(server, own.calls.signed_paths())


def _stock(own: Scales, answers: Sequence[Answer]) -> None:
    """Give Redis the answers for those peers that pass them on as they are."""
    with Redis.from_url(own.running.settings.redis_url) as redis, redis.pipeline(transaction=False) as pipe:
        for target, answer in zip(own.calls.targets, answers, strict=True):
            pipe.set(stored_key(target.domain, target.slug), stored_value(answer.body))
        pipe.execute()


def _wishcraft(own: Scales, answers: Sequence[Answer]) -> Iterator[Row]:
    with own.server(*API) as server:
        yield own.weigh("WishCraft, hit, API key", server, own.calls.by_key())
        yield own.weigh("WishCraft, hit, signature", server, own.calls.signed())
        etags = [each.etag for each in answers]
        yield own.weigh("WishCraft, not modified (304)", server, own.calls.conditional(etags), status=304)
    with own.server(*WITH_SENTRY) as server:
        yield own.weigh("WishCraft, hit, signature, with Sentry", server, own.calls.signed())
    with own.server(*API) as server:
        signed, count = own.calls.signed(), len(answers)
        yield own.weigh("WishCraft, miss", server, signed, count=count, warm_up=_SAMPLE, before=own.forget_entries)
        yield own.weigh("WishCraft, list of 20", server, own.calls.lists(), count=own.requests // 5, warm_up=_SAMPLE)
        yield _creation(own, server)


def _creation(own: Scales, server: WebServer) -> Row:
    """What is created stays: whoever lists registries after this finds it."""
    count = own.requests // 20
    requests = own.calls.creations(count + _SAMPLE)
    return own.weigh("WishCraft, create", server, requests, count=count, warm_up=_SAMPLE, status=201)


def _peers(own: Scales, expected: Sequence[Answer]) -> Iterator[Row | str]:
    for what, name, fewer in PEERS:
        yield _peer(own, what, own.server(*PEER, name), expected, own.requests // fewer)
    what = "Fastify + ioredis, bytes"
    try:
        command = fastify_command()
    except NoNodeError as error:
        yield f"{what:<46} not measured: {error}"
    else:
        # V8 compiles what it has seen often: its first thousands cost half as much again.
        yield _peer(own, what, own.server(*command, cwd=FOLDER), expected, own.requests, warm_up=2 * own.requests)


def _peer(
    own: Scales,
    what: str,
    opening: AbstractContextManager[WebServer],
    expected: Sequence[Answer],
    count: int,
    warm_up: int | None = None,
) -> Row:
    with opening as server:
        check_same(read_each(server, own.calls.signed_paths()[:_SAMPLE]), expected[:_SAMPLE])
        return own.weigh(what, server, own.calls.signed(), count=count, warm_up=warm_up)


def _mix(own: Scales, what: str, command: Sequence[str], count: int, *, is_cached: bool) -> Row:
    targets = own.calls.targets
    with own.server(*command) as server:
        read_each(server, own.calls.signed_paths()[:CONNECTIONS])
        own.forget_entries()
        plan = Plan(
            server.port,
            own.calls.signed(),
            mix.steps(len(targets), count),
            writes=[(each.shop_id, each.registry_id) for each in targets],
            is_cached=is_cached,
        )
        return own.weigh_plan(what, server, plan, "benchmarks.mix")


def _relief(cached: Row, uncached: Row) -> str:
    by = [1 - mine / others for mine, others in zip(_per_answer(cached), _per_answer(uncached), strict=True)]
    return f"Database load of the mix, by the cache: {by[0]:.1%} fewer queries, {by[1]:.1%} less work"


def _per_answer(row: Row) -> tuple[float, float]:
    return row.queries.asked / row.result.count, row.queries.milliseconds / row.result.count
