"""`python -m benchmarks.load`: load generator: reads a plan from stdin, runs it, prints the result as JSON.

Each connection sends its next request when it has the previous response, or, at a rate, when the request is due: its
latency then counts from that moment. An unexpected response ends the run.
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
_SHOWN_BYTES: Final = 2_000

Write = Callable[[int], Awaitable[None]]


class LoadError(Exception):
    """The server's response was unexpected or missing."""


@dataclass(frozen=True)
class Plan:
    """The requests to send and the expected status."""

    port: int
    requests: list[str]
    """Whole HTTP/1.1 requests."""
    steps: list[int]
    """Indexes into `requests`, in order; -1 is the first of `writes`, -2 the second."""
    status: int = 200
    writes: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of shop id and registry id."""
    is_cached: bool = True
    """Whether a write invalidates the cache."""
    per_second: float = 0
    """Requests due a second; 0 is as many as possible."""


@dataclass(frozen=True)
class Result:
    """Measured result: `count` responses; percentiles in milliseconds, mean body size in bytes."""

    count: int
    seconds: float
    p50: float
    p95: float
    p99: float
    body: float
    states: dict[str, int]
    """Responses by the value of `X-Cache`."""

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.count / self.seconds

    @property
    def hits(self) -> float | None:
        """Share of responses from the cache; None if the server sends no `X-Cache`."""
        from_cache = self.states.get("hit", 0) + self.states.get("stale", 0)
        return from_cache / sum(self.states.values()) if self.states else None


def drive(plan: Plan, environment: Mapping[str, str], module: str = "benchmarks.load") -> Result:
    """Run the plan in a separate process.

    Raises:
        LoadError: A response was unexpected.
    """
    command = [sys.executable, "-m", module]
    done = subprocess.run(command, input=orjson.dumps(plan), env=environment, capture_output=True, check=False)  # noqa: S603  own module
    if done.returncode:
        raise LoadError(done.stderr.decode(errors="replace").strip())
    result: dict[str, Any] = orjson.loads(done.stdout)
    return Result(**result)


async def run(plan: Plan, write: Write | None = None) -> Result:
    """Run all steps of the plan; `write` performs the writes."""
    load = _Load(plan, write)
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: _Connection(load), "127.0.0.1", plan.port))[1] for _ in range(CONNECTIONS)
    ]
    begin = load.begin = time.perf_counter()
    for connection in connections:
        connection.send_next()
    await load.ended
    return load.result(time.perf_counter() - begin)


class _Load:
    """State shared by the connections."""

    def __init__(self, plan: Plan, write: Write | None) -> None:
        self.requests = [each.encode("latin-1") for each in plan.requests]
        self.steps = iter(plan.steps)
        self.status = str(plan.status).encode()
        self.write = write
        self.begin = 0.0
        self.per_second = plan.per_second
        self.sent = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.latencies: list[float] = []
        self.states: Counter[bytes] = Counter()
        self.bytes = 0
        self._busy = CONNECTIONS

    def connection_done(self) -> None:
        """Called by a connection that has no steps left."""
        self._busy -= 1
        if not self._busy and not self.ended.done():
            self.ended.set_result(None)

    def fail(self, reason: str) -> None:
        """Abort the run."""
        if not self.ended.done():
            self.ended.set_exception(LoadError(reason))

    def result(self, seconds: float) -> Result:
        """The result of the run."""
        count = len(self.latencies)
        cuts = statistics.quantiles([1e3 * each for each in self.latencies], n=100, method="inclusive")
        states = {state.decode(): times for state, times in self.states.items()}
        return Result(count, seconds, cuts[49], cuts[94], cuts[98], self.bytes / count, states)


class _Connection(asyncio.Protocol):
    """A keep-alive connection with at most one open request."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._head = b""
        self._left = 0
        self._sent = 0.0
        self._writing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport has the same interface

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.fail(f"The server closed a connection ({exc or 'no error'}).")

    def send_next(self) -> None:
        """Run the next step."""
        step = next(self._load.steps, None)
        if step is None:
            self._load.connection_done()
        elif step < 0:
            self._writing = asyncio.create_task(self._write(-1 - step))
        elif self._load.per_second:
            self._sent = self._load.begin + self._load.sent / self._load.per_second
            self._load.sent += 1
            delay = max(0.0, self._sent - time.perf_counter())
            asyncio.get_running_loop().call_later(delay, self._transport.write, self._load.requests[step])
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
            self.send_next()
        elif self._left < 0:
            self._load.fail("The body is longer than Content-Length.")

    def _length(self, head: bytes) -> int:
        """Check and count a response head; returns its body length."""
        status = head[9:12]
        length = 0 if status in {b"204", b"304"} else int(_value(head, b"content-length") or -1)
        if status != self._load.status or length < 0:
            expected = self._load.status.decode()
            self._load.fail(f"Expected {expected}, received:\n{self._head[:_SHOWN_BYTES].decode(errors='replace')}")
        if state := _value(head, b"x-cache"):
            self._load.states[state] += 1
        self._load.bytes += length
        return length

    async def _write(self, number: int) -> None:
        try:
            assert self._load.write is not None  # noqa: S101  a plan with writes needs `write`
            await self._load.write(number)
        except Exception as error:  # noqa: BLE001  nothing awaits this task
            self._load.fail(f"A write failed: {error!r}")
        else:
            self.send_next()


def _value(head: bytes, name: bytes) -> bytes:
    """The value of a header; empty if missing."""
    _, _, rest = head.partition(b"\r\n" + name + b": ")
    return rest.partition(b"\r\n")[0]


def main(work: Callable[[Plan], Awaitable[Result]] = run) -> None:
    """Read the plan, run it, print the result."""
    plan = Plan(**orjson.loads(sys.stdin.buffer.read()))

    async def run_plan() -> Result:
        return await work(plan)

    with suppress(KeyboardInterrupt):
        try:
            print(orjson.dumps(uvloop.run(run_plan())).decode())
        except (LoadError, OSError) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
