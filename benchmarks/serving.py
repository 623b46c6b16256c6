"""The serving table: the cost of a request for WishCraft, for a lower bound, and for common alternatives.

All servers get the same load, one at a time; what costs little is measured several times, by turns.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from redis import Redis

from benchmarks import mix
from benchmarks.load import CONNECTIONS, Plan
from benchmarks.peers.node import FOLDER, NoNodeError, fastify_command
from benchmarks.peers.stored_answers import stored_key, stored_value
from benchmarks.requests import KEYS, SIGNED
from benchmarks.server_cost import (
    ROUNDS,
    Row,
    ServerBenchmark,
    StoredResponse,
    Turn,
    check_same,
    median_row,
    read_anything,
    read_each,
    server_benchmark,
    wait_for_fills,
)
from benchmarks.servers import running_servers

REGISTRIES: Final = 1_400
"""About a thousand of them are public."""

API: Final = (sys.executable, "-m", "api")
WITH_SENTRY: Final = ("env", "SENTRY_DSN=http://key@127.0.0.1:9/1", *API)  # nothing listens on this port
PEER: Final = (sys.executable, "-m", "benchmarks.peers")
PEERS: Final = (
    ("FastAPI + redis.asyncio GET, bytes", "plain", 1),
    ("FastAPI + cashews, on the route", "by_cashews", 5),
    ("FastAPI + cashews, bytes", "by_cashews_bytes", 5),
    ("FastAPI + fastapi-cache2, on the route", "by_fastapi_cache", 5),
)
"""Title, module, and the divisor of the number of requests: slow peers need fewer."""
_UNCACHED: Final = "FastAPI + PostgreSQL, no cache"
_SAMPLE: Final = 100
_CREATION_ROUNDS: Final = 5
_REFUSED: Final = 61
"""So many invalid credentials of one address a minute are answered with 401, and one more."""
_ROW_SECONDS: Final = 30

HEADING: Final = (
    f"{'what':<46} {'us CPU':>7} {'floor':>7} {'a second':>9} {'p50 ms':>6} {'p95':>6} {'p99':>6}"
    f" {'queries':>7} {'us DB':>6} {'hits':>6} {'MiB':>4}"
)
NOTES: Final = f"""
us CPU    CPU microseconds of the web server's process per response, user and system: the main figure
floor     CPU relative to the first line, uvicorn alone
a second  responses, with load generator, PostgreSQL and Redis on the same processors
p50 ms …  time to the complete response under full load: {CONNECTIONS} keep-alive connections without pauses
queries   PostgreSQL statements per response, without BEGIN, COMMIT and SET, with connection pings
us DB     PostgreSQL's execution time per response, without planning; for hits it is the view counter
hits      share of responses with `X-Cache: hit` or `stale`
MiB       memory of the process at the end
The first rows, up to Fastify's, are medians of {ROUNDS} measurements by turns; so are creations and the peer without a
cache, of {_CREATION_ROUNDS}. All rows read about a thousand
registries, with {KEYS} keys and {SIGNED} signatures of three shops. Peers check the signature too and return the same
responses (verified). The mix has 99 % reads and 1 % writes; popularity follows Zipf's law;
statements of the writes are included."""


def print_table(requests: int) -> None:
    """Measure on new servers; prints each line when it is ready, and the whole table at the end."""
    table = [HEADING]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="wishcraft-bench-")))
        servers = stack.enter_context(running_servers(folder, REGISTRIES, counts_queries=True))
        print(HEADING, flush=True)
        for line in _lines(stack.enter_context(server_benchmark(servers, folder, requests))):
            table.append(line)
            print(line, flush=True)
    print("", *table, NOTES, sep="\n")


def _lines(bench: ServerBenchmark) -> Iterator[str]:
    asyncio.run(wait_for_fills(bench.servers.settings))
    expected = _read_all(bench)
    _store_answers(bench, expected)
    floor, *others = _by_turns(bench, expected)
    rows = chain([floor], others, _wishcraft(bench, expected), _creations(bench, expected), _peers(bench, expected))
    for row in rows:
        yield row.formatted(floor.cpu)
    cached = _mix(bench, "WishCraft, mix, from an empty cache", API, 2 * bench.requests, is_cached=True)
    yield cached.formatted(floor.cpu)
    uncached = _mix(bench, f"{_UNCACHED}, mix", (*PEER, "uncached"), bench.requests // 5, is_cached=False)
    yield uncached.formatted(floor.cpu)
    yield _database_savings(cached, uncached)


def _read_all(bench: ServerBenchmark) -> list[StoredResponse]:
    """The API's responses, against which peers are checked."""
    with bench.server(*API) as server:
        return read_each(server, bench.factory.signed_paths())


def _store_answers(bench: ServerBenchmark, answers: Sequence[StoredResponse]) -> None:
    """Store the responses in Redis for the peers that only forward bytes."""
    with Redis.from_url(bench.servers.settings.redis_url) as redis, redis.pipeline(transaction=False) as pipe:
        for target, answer in zip(bench.factory.targets, answers, strict=True):
            pipe.set(stored_key(target.domain, target.slug), stored_value(answer.body))
        pipe.execute()


def _by_turns(bench: ServerBenchmark, answers: Sequence[StoredResponse]) -> list[Row]:
    """The first row is the floor; the last is Fastify's, if Node.js is there."""
    signed = bench.factory.signed()
    conditional = bench.factory.conditional([each.etag for each in answers])
    with ExitStack() as stack:
        floor, limit, api, with_sentry = (
            stack.enter_context(bench.server(*command))
            for command in ((*PEER, "floor"), (*PEER, "raw_protocol"), API, WITH_SENTRY)
        )
        turns = [
            Turn("uvicorn, bare ASGI, constant body: the floor", floor, signed),
            Turn("httptools + MGET, bytes: the limit for Python", limit, signed),
            Turn("WishCraft, hit, API key", api, bench.factory.by_key()),
            Turn("WishCraft, hit, signature", api, signed),
            Turn("WishCraft, hit, signature, with Sentry", with_sentry, signed),
            Turn("WishCraft, not modified (304)", api, conditional, status=304),
        ]
        peers = [limit]
        try:
            peers.append(stack.enter_context(bench.server(*fastify_command(), cwd=FOLDER)))
            turns.append(Turn("Fastify + ioredis, bytes", peers[-1], signed))
        except NoNodeError as error:
            print(f"Fastify + ioredis is not measured: {error}", flush=True)
        for peer in peers:
            check_same(read_each(peer, bench.factory.signed_paths()[:_SAMPLE]), answers[:_SAMPLE])
        return bench.measure_by_turns(turns)


def _wishcraft(bench: ServerBenchmark, answers: Sequence[StoredResponse]) -> Iterator[Row]:
    with bench.server(*API) as server:
        newly_signed = bench.factory.newly_signed(2 * bench.requests)
        yield bench.measure("WishCraft, hit, a new signature each", server, newly_signed, warm_up=bench.requests)
    yield from _refusals(bench)
    with bench.server(*API) as server:
        signed, count = bench.factory.signed(), len(answers)
        yield bench.measure(
            "WishCraft, miss", server, signed, count=count, warm_up=_SAMPLE, before=bench.drop_cache_entries
        )
        yield bench.measure(
            "WishCraft, list of 20", server, bench.factory.lists(), count=bench.requests // 5, warm_up=_SAMPLE
        )


def _refusals(bench: ServerBenchmark) -> Iterator[Row]:
    """Each row takes seconds, and counts on one window of the rate limiter from its first request to its last."""
    with bench.server(*API) as server:
        absent = bench.factory.absent()
        for path in absent:
            read_anything(server, path)
        yield bench.measure("WishCraft, no such registry (404), remembered", server, absent, status=404)
        for what, requests in (
            ("WishCraft, wrong signature (429 after 60)", bench.factory.wrongly_signed()),
            ("WishCraft, made-up key (429 after 60)", bench.factory.made_up_keys()),
        ):
            _wait_for_window()
            for each in requests[:_REFUSED]:
                read_anything(server, each)
            yield bench.measure(what, server, requests, status=429)
    with bench.server("env", "RATE_LIMIT_PER_MINUTE=1", *API) as server:
        _wait_for_window()
        requests = bench.factory.signed()[:1]
        for _ in range(2):
            read_anything(server, requests[0])
        yield bench.measure("WishCraft, over the rate limit (429)", server, requests, warm_up=_SAMPLE, status=429)


def _wait_for_window() -> None:
    """Wait until a minute begins, unless much of one is left."""
    left = 60 - time.time() % 60
    if left < _ROW_SECONDS:
        time.sleep(left)


def _creations(bench: ServerBenchmark, expected: Sequence[StoredResponse]) -> Iterator[Row]:
    """Creations, and the peer whose cost is their bar, by turns: what else the machine does changes both by a third.

    It begins when its first row is asked for: the created registries stay, and no page of a shop that was just written
    to is kept, so lists are measured before.
    """
    signed, creations, reads = bench.factory.signed(), bench.requests // 80, bench.requests // 25
    with bench.server(*API) as api, bench.server(*PEER, "uncached") as peer:
        check_same(read_each(peer, bench.factory.signed_paths()[:_SAMPLE]), expected[:_SAMPLE])

        def turn() -> list[Row]:
            new = bench.factory.creations(creations + _SAMPLE)  # with new keys: none repeats an earlier one
            return [
                bench.measure("WishCraft, create", api, new, count=creations, warm_up=_SAMPLE, status=201),
                bench.measure(_UNCACHED, peer, signed, count=reads, warm_up=_SAMPLE),
            ]

        rounds = [turn() for _ in range(_CREATION_ROUNDS)]
    yield from (median_row(rows) for rows in zip(*rounds, strict=True))


def _peers(bench: ServerBenchmark, expected: Sequence[StoredResponse]) -> Iterator[Row]:
    for what, name, fewer in PEERS:
        with bench.server(*PEER, name) as server:
            check_same(read_each(server, bench.factory.signed_paths()[:_SAMPLE]), expected[:_SAMPLE])
            yield bench.measure(what, server, bench.factory.signed(), count=bench.requests // fewer)


def _mix(bench: ServerBenchmark, what: str, command: Sequence[str], count: int, *, is_cached: bool) -> Row:
    targets = bench.factory.targets
    with bench.server(*command) as server:
        read_each(server, bench.factory.signed_paths()[:CONNECTIONS])
        bench.drop_cache_entries()
        plan = Plan(
            server.port,
            bench.factory.signed(),
            mix.steps(len(targets), count),
            writes=[(each.shop_id, each.registry_id) for each in targets],
            is_cached=is_cached,
        )
        return bench.measure_plan(what, server, plan, "benchmarks.mix")


def _database_savings(cached: Row, uncached: Row) -> str:
    by = [1 - mine / others for mine, others in zip(_per_response(cached), _per_response(uncached), strict=True)]
    return f"Database load of the mix with the cache: {by[0]:.1%} fewer statements, {by[1]:.1%} less execution time"


def _per_response(row: Row) -> tuple[float, float]:
    return row.queries.statements / row.result.count, row.queries.milliseconds / row.result.count
