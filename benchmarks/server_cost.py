"""One row of the serving table: a server under load, with the cost for its process and for PostgreSQL."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import orjson
import psycopg
from psycopg import Connection
from redis import Redis

from benchmarks.load import LoadError, Plan, Result, drive
from benchmarks.queries import Queries, read_queries, start_counting
from benchmarks.requests import RequestFactory, make_request_factory
from benchmarks.servers import Servers
from benchmarks.web import WebServer, web_server
from deployments.sandbox.processes import ROOT
from wishcraft.cache.keys import entry_key
from wishcraft.resources import open_resources
from wishcraft.settings import Settings

ROUNDS: Final = 7
_NO_LIMITS: Final = {"RATE_LIMIT_PER_MINUTE": "1000000", "DRAIN_SECONDS": "0"}
"""The rate limiter counts but refuses nothing; servers stop without draining."""


class StoredResponse(NamedTuple):
    """A response: its ETag (empty if missing) and its body."""

    etag: str
    body: bytes


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    result: Result
    cpu: float
    """Microseconds per response."""
    memory_mib: float
    queries: Queries

    def formatted(self, floor: float) -> str:
        """The formatted line; `floor` is the minimal CPU cost of a response."""
        own, count = self.result, self.result.count
        statements = f"{self.queries.statements / count:.2f}" if self.queries.statements else ""
        database_time = f"{1000 * self.queries.milliseconds / count:,.0f}" if self.queries.statements else ""
        hits = "" if own.hits is None else f"{100 * own.hits:.1f}%"
        return (
            f"{self.what:<46} {self.cpu:>7,.0f} {self.cpu / floor:>6.2f}x {own.rate:>9,.0f} {own.p50:>6.1f}"
            f" {own.p95:>6.1f} {own.p99:>6.1f} {statements:>7} {database_time:>6} {hits:>6} {self.memory_mib:>4,.0f}"
        )


class Turn(NamedTuple):
    """A case that `measure_by_turns` measures repeatedly."""

    what: str
    server: WebServer
    requests: Sequence[str]
    status: int = 200


@dataclass(frozen=True)
class ServerBenchmark:
    """The stores, the requests for servers on them, and the number of requests per row."""

    servers: Servers
    folder: Path
    connection: Connection[tuple[Any, ...]]
    factory: RequestFactory
    requests: int

    def server(self, *command: str, cwd: Path = ROOT) -> AbstractContextManager[WebServer]:
        """Context manager: run a server on the stores."""
        return web_server(command, self.servers.environment() | _NO_LIMITS, self.folder, cwd)

    def measure(
        self,
        what: str,
        server: WebServer,
        requests: Sequence[str],
        *,
        count: int | None = None,
        warm_up: int | None = None,
        status: int = 200,
        before: Callable[[], None] = lambda: None,
    ) -> Row:
        """Measure `count` requests after `warm_up` others (default: all); `before` runs before each of the two."""
        count, warm_up = count or self.requests, warm_up or len(requests)
        turns = [step % len(requests) for step in range(count + warm_up)]
        before()
        self._drive(Plan(server.port, list(requests), turns[count:], status))
        before()
        return self.measure_plan(what, server, Plan(server.port, list(requests), turns[:count], status))

    def measure_plan(self, what: str, server: WebServer, plan: Plan, module: str = "benchmarks.load") -> Row:
        """Measure a plan without warm-up; `module` is the load generator."""
        before, cpu = read_queries(self.connection), server.cpu
        result = self._drive(plan, module)
        used = 1e6 * (server.cpu - cpu) / result.count
        return Row(what, result, used, server.memory_mib, read_queries(self.connection).since(before))

    def measure_by_turns(self, turns: Sequence[Turn]) -> list[Row]:
        """The medians of `ROUNDS` measurements of each, after one that does not count.

        What slows this machine down for some seconds then slows all of them down.
        """
        rounds = [
            [
                self.measure(what, server, requests, count=3 * self.requests, status=status)
                for what, server, requests, status in turns
            ]
            for _ in range(ROUNDS + 1)
        ]
        return [median_row(rows) for rows in zip(*rounds[1:], strict=True)]

    def drop_cache_entries(self) -> None:
        """Delete all cache entries. The era stays, so the cache accepts entries at once."""
        with Redis.from_url(self.servers.settings.redis_url) as redis:
            for shop_id in self.factory.keys:
                entries = list(redis.scan_iter(match=entry_key(shop_id, "*"), count=1000))
                if entries:
                    redis.unlink(*entries)

    def _drive(self, plan: Plan, module: str = "benchmarks.load") -> Result:
        return drive(plan, self.servers.environment(), module)


def median_row(rows: Sequence[Row]) -> Row:
    """The medians of measurements of the same; what has no median here is that of the last one."""
    results = [row.result for row in rows]
    medians = {name: median(getattr(each, name) for each in results) for name in ("seconds", "p50", "p95", "p99")}
    return replace(rows[-1], cpu=median(row.cpu for row in rows), result=replace(results[-1], **medians))


@contextmanager
def server_benchmark(servers: Servers, folder: Path, requests: int) -> Iterator[ServerBenchmark]:
    """Context manager: a benchmark with pg_stat_statements enabled."""
    url = servers.settings.database_url.replace("+psycopg", "", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        start_counting(connection)
        yield ServerBenchmark(servers, folder, connection, make_request_factory(connection, servers.settings), requests)


async def wait_for_fills(settings: Settings) -> None:
    """Wait until the new Redis accepts cache entries."""
    async with open_resources(settings) as resources:
        await resources.cache.ready_to_fill()


def read_each(server: WebServer, paths: Sequence[str]) -> list[StoredResponse]:
    """Read the paths one after the other.

    Raises:
        LoadError: A status is not 200.
    """
    http = HTTPConnection("127.0.0.1", server.port, timeout=30)
    answers: list[StoredResponse] = []
    for path in paths:
        http.request("GET", path)
        response = http.getresponse()
        answers.append(StoredResponse(response.getheader("ETag", ""), response.read()))
        if response.status != 200:  # noqa: PLR2004  OK
            raise LoadError(f"{path} returned {response.status}: {answers[-1].body.decode()}")
    http.close()
    return answers


def read_anything(server: WebServer, request: str) -> None:
    """Send a request and read its response; any status will do."""
    head, *lines = request.rstrip().split("\r\n")
    http = HTTPConnection("127.0.0.1", server.port, timeout=30)
    http.request("GET", head.split(" ")[1], headers=dict(line.split(": ", 1) for line in lines))
    http.getresponse().read()
    http.close()


def check_same(answers: Sequence[StoredResponse], expected: Sequence[StoredResponse]) -> None:
    """Check that a peer's responses equal the API's.

    Raises:
        LoadError: A response differs.
    """
    for own, other in zip(answers, expected, strict=True):
        if orjson.loads(own.body) != orjson.loads(other.body):
            raise LoadError(f"The API returned {other.body.decode()}\nbut this server returned {own.body.decode()}")
