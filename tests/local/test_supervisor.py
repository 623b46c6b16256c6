"""The supervisor with small programs: restarts, start failures and the order of stops."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from deployments.local.children import Child
from deployments.local.supervisor import READY_SECONDS, Service, StartFailed, StopRequested, Supervisor, wait_until
from deployments.local.terminal import Terminal
from deployments.sandbox.processes import Program
from tests.support.waiting import PATIENCE_SECONDS

SLEEPER = "import time; time.sleep(60)"
DYING = "print('no such table', flush=True); raise SystemExit(3)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


class Stage:
    """A supervisor, its `on_change` calls, and the services whose `on_exit` was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changes: list[bool] = []
        self.ended: list[str] = []
        self.supervise()

    def supervise(self, ready_seconds: float = READY_SECONDS) -> None:
        self.supervisor = Supervisor(Terminal(), self.folder, self.changes.append, ready_seconds=ready_seconds)

    def service(self, name: str, code: str = SLEEPER, *, rank: int = 0, needs: str = "") -> Service:
        async def on_exit() -> None:
            self.ended.append(name)

        async def ready() -> bool:
            return needs in (self.folder / f"{name}.log").read_text()

        return Service(python(name, code, self.folder), rank, ready, on_exit)

    def pid(self) -> int:
        (pid,) = self.supervisor.pids()
        return pid


def python(name: str, code: str, folder: Path) -> Program:
    return Program(name, (sys.executable, "-c", code), cwd=folder)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    before = psutil.Process().children()
    yield stage
    await stage.supervisor.stop()
    assert psutil.Process().children() == before, "a child process is left"


def becomes_true(condition: Callable[[], bool]) -> Awaitable[bool]:
    async def holds() -> bool:
        return condition()

    return wait_until(holds, PATIENCE_SECONDS)


async def test_service_that_dies_is_restarted(stage: Stage) -> None:
    await stage.supervisor.start(stage.service("dummy"))
    stage.supervisor.enable_restarts()
    first = stage.pid()
    os.kill(first, signal.SIGKILL)
    assert await becomes_true(lambda: stage.changes == [False, True])
    assert stage.pid() != first
    assert stage.ended == ["dummy"]


async def test_service_that_is_ready_long_after_its_restart_is_up_again(stage: Stage) -> None:
    is_ready, looks = True, 0
    stage.supervise(ready_seconds=0)

    async def ready() -> bool:
        nonlocal looks
        looks += 1
        return is_ready

    await stage.supervisor.start(replace(stage.service("dummy"), ready=ready))
    stage.supervisor.enable_restarts()
    is_ready, looks = False, 0
    os.kill(stage.pid(), signal.SIGKILL)
    assert await becomes_true(lambda: looks > 2)
    is_ready = True
    assert await becomes_true(lambda: stage.changes == [False, True])


async def test_service_that_dies_during_the_start_fails_it_with_its_last_log_lines(stage: Stage) -> None:
    with pytest.raises(StartFailed, match=r"dummy exited with code 3; last lines of its log:\n    no such table"):
        await stage.supervisor.run(stage.supervisor.start(stage.service("dummy", DYING, needs="never written")))


async def test_port_that_another_program_took_during_the_start_is_the_cause(stage: Stage) -> None:
    code = "print('[Errno 98] Address already in use', flush=True); raise SystemExit(1)"
    with pytest.raises(StartFailed, match=r"dummy exited with code 1: another program has taken its port; last lines"):
        await stage.supervisor.run(stage.supervisor.start(stage.service("dummy", code, needs="never written")))


async def test_failed_one_off_program_is_reported_with_its_last_log_lines(stage: Stage) -> None:
    with pytest.raises(StartFailed, match=r"setup exited with code 3; last lines of its log:\n    no such table"):
        await stage.supervisor.run(stage.supervisor.run_once(python("setup", DYING, stage.folder)))


async def test_services_stop_from_the_highest_rank_to_the_lowest(stage: Stage) -> None:
    for name, rank in (("worker", 2), ("database", 0), ("api", 1)):
        await stage.supervisor.start(stage.service(name, rank=rank))
    await stage.supervisor.stop()
    assert stage.ended == ["worker", "api", "database"]
    assert not stage.supervisor.pids()


async def test_signal_during_the_start_stops_all_started_programs(stage: Stage) -> None:
    stage.supervisor.install_signal_handlers()
    before = psutil.Process().children()
    setup = python("setup", SLEEPER, stage.folder)
    starting = asyncio.create_task(stage.supervisor.run(stage.supervisor.run_once(setup)))
    assert await becomes_true(lambda: psutil.Process().children() != before)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StopRequested):
        await starting


async def test_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    child = Child(python("stubborn", STUBBORN, tmp_path), tmp_path)
    await child.start()
    assert await becomes_true(lambda: "up" in child.log.read_text())
    await child.stop(patience=0.1)
    assert await child.ended() == -signal.SIGKILL


async def test_exit_of_a_child_is_noticed_while_a_grandchild_holds_its_output(tmp_path: Path) -> None:
    grandchild = f"subprocess.Popen([sys.executable, '-c', {SLEEPER!r}])"
    child = Child(python("parent", f"import subprocess, sys; print({grandchild}.pid)", tmp_path), tmp_path)
    await child.start()
    assert await asyncio.wait_for(child.ended(), 20) == 0
    psutil.Process(int(child.log.read_text())).kill()


async def test_output_of_a_child_goes_to_its_log_and_not_to_the_terminal(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    await stage.supervisor.start(stage.service("talker", f"print('hello', flush=True); {SLEEPER}", needs="hello"))
    stage.supervisor.enable_restarts()
    os.kill(stage.pid(), signal.SIGKILL)
    assert await becomes_true(lambda: stage.changes == [False, True])
    assert await becomes_true(lambda: (stage.folder / "talker.log").read_text() == "hello\nhello\n")
    assert capfd.readouterr() == (
        "! talker exited with code -9; restarting in 0.5 s\n! talker is ready again\n",
        "",
    )


async def test_start_keeps_the_log_of_the_previous_start(tmp_path: Path) -> None:
    for word in ("first", "second", "third"):
        child = Child(python("talker", f"print('{word}')", tmp_path), tmp_path)
        await child.start()
        await child.ended()
    assert (tmp_path / "talker.log").read_text() == "third\n"
    assert (tmp_path / "talker.log.1").read_text() == "second\n"


async def test_logs_and_files_of_a_child_are_readable_only_by_their_owner(tmp_path: Path) -> None:
    (tmp_path / "writer.log").touch(mode=0o644)  # an earlier release left it so
    code = "import pathlib; pathlib.Path('written').touch(); pathlib.Path('folder').mkdir()"
    child = Child(python("writer", code, tmp_path), tmp_path)
    await child.start()
    assert await child.ended() == 0
    modes = modes_in(tmp_path)
    assert modes == {"writer.log": 0o600, "writer.log.1": 0o600, "written": 0o600, "folder": 0o700}


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
