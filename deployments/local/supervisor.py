"""Starts services, restarts those that die, and stops all of them in reverse order.

It is independent of the particular services: each `Service` has its command, readiness check and clean-up.
"""

import asyncio
import math
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deployments.local.children import Child
from deployments.local.terminal import Terminal
from deployments.sandbox.processes import Program
from wishcraft.errors import WishCraftError

READY_SECONDS: Final = 180.0  # for slow machines; a process that exits is noticed at once
STOP_SECONDS: Final = 3.0  # per service; the whole stack must stop within 10 s
FIRST_DELAY: Final = 0.5  # before a restart; doubles while the service keeps dying
MAX_DELAY_SECONDS: Final = 30.0
STABLE_SECONDS: Final = 60.0  # a service that ran this long restarts after FIRST_DELAY again
_DEBOUNCE_SECONDS: Final = 1.0  # `make` and the terminal may both forward the same Ctrl-C


class StartFailed(WishCraftError):  # noqa: N818  it names an event
    """A program of the stack did not start; the message has its name and its last log lines."""


class StopRequested(Exception):  # noqa: N818  a request, not an error
    """A signal asked the stack to stop."""


@dataclass(frozen=True, slots=True)
class Service:
    """A program to keep running; services stop in descending `rank`."""

    program: Program
    rank: int
    ready: Callable[[], Awaitable[bool]]  # polled; never raises
    on_exit: Callable[[], Awaitable[None]]  # after every exit of the process
    stop_seconds: float = STOP_SECONDS


class Supervisor:
    """Manages the services from their start until `stop`."""

    def __init__(
        self,
        terminal: Terminal,
        logs: Path,
        on_change: Callable[[bool], None],
        *,
        ready_seconds: float = READY_SECONDS,
    ) -> None:
        """`on_change` is called with whether all services are up, each time one dies or is restarted."""
        self._terminal = terminal
        self._logs = logs
        self._on_change = on_change
        self._ready_seconds = ready_seconds
        self._services: list[tuple[Service, Child]] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._down: set[str] = set()
        self._restarts_enabled = False
        self._abort: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._signalled_at: float | None = None

    def install_signal_handlers(self) -> None:
        """Make the first signal end `run` with `StopRequested`, and a later one kill all children."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self.interrupt)

    def interrupt(self) -> None:
        """Act as for a signal; see `install_signal_handlers`."""
        now = time.monotonic()
        if self._signalled_at is None:
            self._signalled_at = now
            if not self._abort.done():
                self._abort.set_exception(StopRequested())
        elif now - self._signalled_at > _DEBOUNCE_SECONDS:
            for _, child in self._services:
                child.kill()

    def pids(self) -> set[int]:
        """The process ids of the running services."""
        return {child.pid for _, child in self._services if child.pid}

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Await the work; a signal, or the death of a service before `enable_restarts`, cancels it.

        Raises:
            StopRequested: A signal was received.
            StartFailed: A service died.
        """
        task = asyncio.create_task(work)
        await asyncio.wait({task, self._abort}, return_when=asyncio.FIRST_COMPLETED)
        if self._abort.done():
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # marks the exception as retrieved; it is a result of the cancellation
            self._abort.result()
        await task

    async def start(self, service: Service) -> None:
        """Start the service and wait until it is ready.

        Raises:
            StartFailed: It was not ready within `ready_seconds`. (Its death ends `run`.)
        """
        child = Child(service.program, self._logs)
        self._services.append((service, child))
        await child.start()
        self._watchers.append(asyncio.create_task(self._watch(service, child)))
        if not await wait_until(service.ready, self._ready_seconds):
            raise self._start_failed(child, f"is not ready after {self._ready_seconds:.0f} s")

    async def run_once(self, program: Program) -> None:
        """Run a program to its end.

        Raises:
            StartFailed: Its exit code is not 0.
        """
        child = Child(program, self._logs)
        await child.start()
        try:
            code = await child.ended()
        finally:
            await child.stop(STOP_SECONDS)
        if code != 0:
            raise self._start_failed(child, f"exited with code {code}")

    def enable_restarts(self) -> None:
        """From now on, restart services that die instead of failing."""
        self._restarts_enabled = True

    async def stop(self) -> None:
        """Stop all services, highest rank first, and wait until they have exited."""
        for watcher in self._watchers:
            watcher.cancel()
        for service, child in sorted(self._services, key=lambda pair: -pair[0].rank):
            await child.stop(service.stop_seconds)
            await service.on_exit()

    def _start_failed(self, child: Child, what: str) -> StartFailed:
        lines = child.last_lines()
        cause = ": another program has taken its port" if "address already in use" in lines.lower() else ""
        return StartFailed(f"{child.program.name} {what}{cause}; last lines of its log:\n{lines}\n    ({child.log})")

    async def _watch(self, service: Service, child: Child) -> None:
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            code = await child.ended()
            if not self._restarts_enabled:
                if not self._abort.done():
                    self._abort.set_exception(self._start_failed(child, f"exited with code {code}"))
                return
            delay = FIRST_DELAY if time.monotonic() - began > STABLE_SECONDS else delay
            await self._restart(service, child, code, delay)
            delay = min(2 * delay, MAX_DELAY_SECONDS)

    async def _restart(self, service: Service, child: Child, code: int, delay: float) -> None:
        name = service.program.name
        self._change(name, up=False)
        self._terminal.show(f"! {name} exited with code {code}; restarting in {delay:g} s")
        await service.on_exit()
        await asyncio.sleep(delay)
        await child.start()
        ready = asyncio.create_task(wait_until(service.ready, math.inf))
        ended = asyncio.create_task(child.ended())
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            return  # `_watch` tries again after its exit
        ended.cancel()
        self._change(name, up=True)
        self._terminal.show(f"! {name} is ready again")

    def _change(self, name: str, *, up: bool) -> None:
        (self._down.discard if up else self._down.add)(name)
        self._on_change(not self._down)


async def wait_until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Poll the condition until it holds; False if it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
