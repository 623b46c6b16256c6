"""One row of the serving table: a server under a load, and what that cost its process and PostgreSQL."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import psycopg
from psycopg import Connection
from redis import Redis

from benchmarks.calls import Calls, make_calls
from benchmarks.load import LoadError, Plan, Result, drive
from benchmarks.queries import Queries, read_queries, start_counting
from benchmarks.servers import Running
from benchmarks.web import ROOT, WebServer, web_server
from wishcraft.cache.keys import entry_key

_UNHINDERED: Final = {"RATE_LIMIT_PER_MINUTE": "1000000000", "DRAIN_SECONDS": "0"}
"""Requests are counted as ever, and none is refused; nobody has to be told that a server stops."""


class Answer(NamedTuple):
    """What a server gave: its tag as it came, empty if there was none, and the bytes."""

    etag: str
    body: bytes


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    result: Result
    cpu: float
    """Microseconds for each answer."""
    memory_mib: float
    queries: Queries

    def formatted(self, floor: float) -> str:
        """The line; `floor` is the least CPU that an answer can cost."""
        own, count = self.result, self.result.count
        asked = f"{self.queries.asked / count:.2f}" if self.queries.asked else ""
        worked = f"{1000 * self.queries.milliseconds / count:,.0f}" if self.queries.asked else ""
        hits = "" if own.hits is None else f"{100 * own.hits:.1f}%"
        return (
            f"{self.what:<46} {self.cpu:>7,.0f} {self.cpu / floor:>6.1f}x {own.rate:>9,.0f} {own.p50:>6.1f}"
            f" {own.p95:>6.1f} {own.p99:>6.1f} {asked:>7} {worked:>6} {hits:>6} {self.memory_mib:>4,.0f}"
        )


@dataclass(frozen=True)
class Scales:
    """The stores, what to ask of servers over them, and how many requests a row is measured by."""

    running: Running
    folder: Path
    connection: Connection[tuple[Any, ...]]
    calls: Calls
    requests: int

    def server(self, *command: str, cwd: Path = ROOT) -> AbstractContextManager[WebServer]:
        """A server over the stores, for as long as the context lasts."""
        return web_server(command, self.running.environment() | _UNHINDERED, self.folder, cwd)

    def weigh(
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
        """`count` of the requests in turn, after `warm_up` of those that follow, or all; `before` precedes both."""
        count, warm_up = count or self.requests, warm_up or len(requests)
        turns = [step % len(requests) for step in range(count + warm_up)]
        before()
        self._drive(Plan(server.port, list(requests), turns[count:], status))
        before()
        return self.weigh_plan(what, server, Plan(server.port, list(requests), turns[:count], status))

    def weigh_plan(self, what: str, server: WebServer, plan: Plan, module: str = "benchmarks.load") -> Row:
        """The plan alone, carried out by that module's process."""
        asked, cpu = read_queries(self.connection), server.cpu
        result = self._drive(plan, module)
        used = 1e6 * (server.cpu - cpu) / result.count
        return Row(what, result, used, server.memory_mib, read_queries(self.connection).since(asked))

    def forget_entries(self) -> None:
        """Empty the cache as if all had expired; the server's era goes on, so that it may be filled at once."""
        with Redis.from_url(self.running.settings.redis_url) as redis:
            for shop_id in self.calls.keys:
                entries = list(redis.scan_iter(match=entry_key(shop_id, "*"), count=1000))
                if entries:
                    redis.unlink(*entries)

    def _drive(self, plan: Plan, module: str = "benchmarks.load") -> Result:
        return drive(plan, self.running.environment(), module)


@contextmanager
def scales(running: Running, folder: Path, requests: int) -> Iterator[Scales]:
    """Scales on which PostgreSQL counts."""
    url = running.settings.database_url.replace("+psycopg", "", 1)
    with psycopg.connect(url, autocommit=True) as connection:
        start_counting(connection)
        yield Scales(running, folder, connection, make_calls(connection, running.settings), requests)


def read_each(server: WebServer, paths: Sequence[str]) -> list[Answer]:
    """What the server answers to each, in turn.

    Raises:
        LoadError: One is not 200.
    """
    http = HTTPConnection("127.0.0.1", server.port, timeout=30)
    answers: list[Answer] = []
    for path in paths:
        http.request("GET", path)
        response = http.getresponse()
        answers.append(Answer(response.getheader("ETag", ""), response.read()))
        if response.status != 200:  # noqa: PLR2004  OK
            raise LoadError(f"{path} was answered {response.status}: {answers[-1].body.decode()}")
    http.close()
    return answers


def check_same(answers: Sequence[Answer], expected: Sequence[Answer]) -> None:
    """A peer that says something else does other work.

    Raises:
        LoadError: It does.
    """
    for own, other in zip(answers, expected, strict=True):
        if orjson.loads(own.body) != orjson.loads(other.body):
            raise LoadError(f"The API answers {other.body.decode()}\nbut this server {own.body.decode()}")
