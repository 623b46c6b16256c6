"""`python -m benchmarks.load`: take a plan from stdin, put its load on a server, and print what came of it as JSON.

Each connection sends its next request as soon as it has the answer to the last. An answer that was not planned ends it.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

import orjson
import uvloop

CONNECTIONS: Final = 32
_SHOWN_OF_A_FAULT: Final = 2_000

Write = Callable[[int], Awaitable[None]]


class LoadError(Exception):
    """The server answered otherwise than planned, or not at all."""


@dataclass(frozen=True)
class Plan:
    """What to send, and what must come back."""

    port: int
    requests: list[str]
    """Whole HTTP/1.1 requests."""
    steps: list[int]
    """Which of them to send, in turn; -1 is the first of the writes, -2 the second."""
    status: int = 200
    writes: list[tuple[int, int]] = field(default_factory=list)
    """Shops' and registries' ids."""
    is_cached: bool = True
    """Whether a write has a cache to tell."""


@dataclass(frozen=True)
class Result:
    """What came back: `count` answers; percentiles in milliseconds, bodies' mean size in bytes."""

    count: int
    seconds: float
    p50: float
    p95: float
    p99: float
    body: float
    states: dict[str, int]
    """How often `X-Cache` said what."""

    @property
    def rate(self) -> float:
        """How many a second."""
        return self.count / self.seconds

    @property
    def hits(self) -> float | None:
        """The share that came out of the cache; None if the server does not say."""
        found = self.states.get("hit", 0) + self.states.get("stale", 0)
        return found / sum(self.states.values()) if self.states else None


def drive(plan: Plan, environment: Mapping[str, str], module: str = "benchmarks.load") -> Result:
    """Put the load on from a process of its own.

    Raises:
        LoadError: An answer was not as planned.
    """
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, input=orjson.dumps(plan), env=environment, capture_output=True, check=False)  # noqa: S603  own module
    if done.returncode:
        raise LoadError(done.stderr.decode(errors="replace").strip())
    said: dict[str, Any] = orjson.loads(done.stdout)
    return Result(**said)


async def run(plan: Plan, write: Write | None = None) -> Result:
    """Take all steps of the plan; `write` does those writes that are not the server's to do."""
    load = _Load(plan, write)
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: _Connection(load), "127.0.0.1", plan.port))[1] for _ in range(CONNECTIONS)
    ]
    begin = time.perf_counter()
    for connection in connections:
        connection.go_on()
    await load.ended
    return load.result(time.perf_counter() - begin)


class _Load:
    """What the connections share."""

    def __init__(self, plan: Plan, write: Write | None) -> None:
        self.requests = [each.encode("latin-1") for each in plan.requests]
        self.steps = iter(plan.steps)
        self.status = str(plan.status).encode()
        self.write = write
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.states: Counter[bytes] = Counter()
        self.bytes = 0
        self._busy = CONNECTIONS

    def one_less(self) -> None:
        """Note that a connection has nothing left to do."""
        self._busy -= 1
        if not self._busy and not self.ended.done():
            self.ended.set_result(None)

    def fail(self, reason: str) -> None:
        """End it all."""
        if not self.ended.done():
            self.ended.set_exception(LoadError(reason))

    def result(self, seconds: float) -> Result:
        """The figures."""
        count = len(self.latencies)
        cuts = statistics.quantiles([1e3 * each for each in self.latencies], n=100, method="inclusive")
        states = {state.decode(): times for state, times in self.states.items()}
        return Result(count, seconds, cuts[49], cuts[94], cuts[98], self.bytes / count, states)


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way at most."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._head = b""
        self._left = 0
        self._sent = 0.0
        self._writing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is one in all but name

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.fail(f"The server closed a connection ({exc or 'without a word'}).")

    def go_on(self) -> None:
        """Take the next step."""
        step = next(self._load.steps, None)
        if step is None:
            self._load.one_less()
        elif step < 0:
            self._writing = asyncio.create_task(self._write(-1 - step))
        else:
            self._sent = time.perf_counter()
            self._transport.write(self._load.requests[step])

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._left = self._length(self._head[:end].lower()) - (len(self._head) - end - 4)
            self._head = b""
        if self._left == 0:
            self._load.latencies.append(time.perf_counter() - self._sent)
            self.go_on()
        elif self._left < 0:
            self._load.fail("More came than Content-Length says.")

    def _length(self, head: bytes) -> int:
        """The length of the body that belongs to this head, which is checked and counted."""
        status = head[9:12]
        length = 0 if status in {b"204", b"304"} else int(_value(head, b"content-length") or -1)
        if status != self._load.status or length < 0:
            planned = self._load.status.decode()
            self._load.fail(f"{planned} was planned:\n{self._head[:_SHOWN_OF_A_FAULT].decode(errors='replace')}")
        if state := _value(head, b"x-cache"):
            self._load.states[state] += 1
        self._load.bytes += length
        return length

    async def _write(self, number: int) -> None:
        try:
            assert self._load.write is not None  # noqa: S101  a plan with writes has a writer
            await self._load.write(number)
        except Exception as error:  # noqa: BLE001  nothing awaits this task
            self._load.fail(f"A write failed: {error!r}")
        else:
            self.go_on()


def _value(head: bytes, name: bytes) -> bytes:
    """The value of a header, empty if it is not there."""
    _, _, rest = head.partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0]


def main(work: Callable[[Plan], Awaitable[Result]] = run) -> None:
    """Read the plan, do the work, print the result."""
    plan = Plan(**orjson.loads(sys.stdin.buffer.read()))

    async def work_on_it() -> Result:
        return await work(plan)

    with suppress(KeyboardInterrupt):
        try:
            print(orjson.dumps(uvloop.run(work_on_it())).decode())
        except (LoadError, OSError) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
