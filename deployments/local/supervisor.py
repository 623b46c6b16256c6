"""Starts services, notices when one dies, restarts it, and stops all of them in reverse order.

It knows no service by name: what to run, when it is ready and what its end leaves to be done come with the `Service`.
"""

import asyncio
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

READY_SECONDS: Final = 180.0  # on a slow machine; one that ends is noticed at once
STOP_SECONDS: Final = 3.0  # per service: all of them together are to be gone within ten
FIRST_DELAY: Final = 0.5  # before a restart; doubled while restarts do not last
MAX_DELAY_SECONDS: Final = 30.0
STABLE_SECONDS: Final = 60.0  # one that ran for so long starts over with the first delay
_DEBOUNCE_SECONDS: Final = 1.0  # `make` and the terminal may both pass on one and the same Ctrl-C


class StartFailed(WishCraftError):  # noqa: N818  it names an event
    """A part of the stack did not start; the message says which, and shows the end of its log."""


class Stopped(Exception):  # noqa: N818  a request, not an error
    """Someone asked the stack to stop."""


@dataclass(frozen=True, slots=True)
class Service:
    """A program that is to stay up; `rank` orders the stops, the highest first."""

    program: Program
    rank: int
    ready: Callable[[], Awaitable[bool]]  # asked again and again; raises nothing
    after_end: Callable[[], Awaitable[None]]  # after each end of the process, asked for or not
    stop_seconds: float = STOP_SECONDS


class Supervisor:
    """Holds the services from their start until `stop`."""

    def __init__(self, terminal: Terminal, logs: Path, on_change: Callable[[bool], None]) -> None:
        """`on_change` is told whether every service is up, each time one dies or is back."""
        self._terminal = terminal
        self._logs = logs
        self._on_change = on_change
        self._services: list[tuple[Service, Child]] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._down: set[str] = set()
        self._keeping_up = False
        self._ended_early: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._signalled_at: float | None = None

    def listen_to_signals(self) -> None:
        """Let a first signal end `run` with `Stopped`, and a later one kill every child at once."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self.interrupt)

    def interrupt(self) -> None:
        """Do what a signal does; see `listen_to_signals`."""
        now = time.monotonic()
        if self._signalled_at is None:
            self._signalled_at = now
            if not self._ended_early.done():
                self._ended_early.set_exception(Stopped())
        elif now - self._signalled_at > _DEBOUNCE_SECONDS:
            for _, child in self._services:
                child.kill()

    def pids(self) -> set[int]:
        """The process ids of the services that run."""
        return {child.pid for _, child in self._services if child.pid}

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work, unless a signal or the death of a service that is not kept up yet comes first.

        Raises:
            Stopped: A signal asked for it.
            StartFailed: A service died.
        """
        task = asyncio.create_task(work)
        await asyncio.wait({task, self._ended_early}, return_when=asyncio.FIRST_COMPLETED)
        if self._ended_early.done():
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # what a part said while it was cut off is of no interest
            self._ended_early.result()
        await task

    async def start(self, service: Service) -> None:
        """Start the service and return once it is ready.

        Raises:
            StartFailed: It did not get ready in READY_SECONDS. (Its death ends `run`.)
        """
        child = Child(service.program, self._logs)
        self._services.append((service, child))
        await child.start()
        self._watchers.append(asyncio.create_task(self._watch(service, child)))
        if not await wait_until(service.ready):
            raise self._start_failed(child, f"is not ready after {READY_SECONDS:.0f} s")

    async def run_once(self, program: Program) -> None:
        """Run a program that ends by itself.

        Raises:
            StartFailed: It ended with an exit code other than 0.
        """
        child = Child(program, self._logs)
        await child.start()
        try:
            code = await child.ended()
        finally:
            await child.stop(STOP_SECONDS)
        if code != 0:
            raise self._start_failed(child, f"ended with {code}")

    def keep_up(self) -> None:
        """From now on, restart a service that dies instead of giving up."""
        self._keeping_up = True

    async def stop(self) -> None:
        """Stop every service, the highest rank first; returns when all have ended."""
        for watcher in self._watchers:
            watcher.cancel()
        for service, child in sorted(self._services, key=lambda pair: -pair[0].rank):
            await child.stop(service.stop_seconds)
            await service.after_end()

    def _start_failed(self, child: Child, what: str) -> StartFailed:
        return StartFailed(f"{child.program.name} {what}; its log ends with\n{child.last_lines()}\n    ({child.log})")

    async def _watch(self, service: Service, child: Child) -> None:
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            code = await child.ended()
            if not self._keeping_up:
                if not self._ended_early.done():
                    self._ended_early.set_exception(self._start_failed(child, f"ended with {code}"))
                return
            delay = FIRST_DELAY if time.monotonic() - began > STABLE_SECONDS else delay
            await self._restart(service, child, code, delay)
            delay = min(2 * delay, MAX_DELAY_SECONDS)

    async def _restart(self, service: Service, child: Child, code: int, delay: float) -> None:
        name = service.program.name
        self._change(name, up=False)
        self._terminal.say(f"! {name} ended with {code}; starting it again in {delay:g} s")
        await service.after_end()
        await asyncio.sleep(delay)
        await child.start()
        ready = asyncio.create_task(wait_until(service.ready))
        ended = asyncio.create_task(child.ended())
        await asyncio.wait({ready, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done() or not ready.result():
            ready.cancel()
            return  # `_watch` tries again once it has ended
        ended.cancel()
        self._change(name, up=True)
        self._terminal.say(f"! {name} is back")

    def _change(self, name: str, *, up: bool) -> None:
        (self._down.discard if up else self._down.add)(name)
        self._on_change(not self._down)


async def wait_until(holds: Callable[[], Awaitable[bool]]) -> bool:
    """Ask until the condition holds; False if it does not within READY_SECONDS."""
    deadline = time.monotonic() + READY_SECONDS
    while not await holds():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True
