"""How a child process is started, watched while it starts, and stopped. Linux only. It knows no program by name.

Every child leads its own session (a terminal's Ctrl-C reaches the parent alone) and is signalled by the kernel
when its parent dies, so that not even `kill -9` of the parent leaves it behind.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any, Final

from wishcraft.errors import ConfigurationError

_PR_SET_PDEATHSIG: Final = 1  # prctl(2), PR_SET_PDEATHSIG
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, where, and the signal that asks it to end; `env` replaces the environment if given."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] | None = None
    stop_signal: Signals = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready to be started: its program, its URL and how to ask whether it answers."""

    program: Program
    url: str
    ready: Callable[[], bool]


def spawn_options(program: Program) -> dict[str, Any]:
    """The keyword arguments that `subprocess.Popen` and `asyncio.create_subprocess_exec` share for this program.

    The caller must start it from a thread that outlives it: the kernel takes that thread's end for the parent's.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(program.stop_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return {
        "cwd": program.cwd,
        "env": program.env,
        "stdin": subprocess.DEVNULL,
        "stderr": subprocess.STDOUT,
        "start_new_session": True,
        "preexec_fn": die_with_parent,
    }


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init's, so that it can find and end them."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@contextmanager
def running(program: Program, ready: Callable[[], bool], log: Path, timeout: float = 30) -> Iterator[None]:
    """Run `program` within the block; its output goes to `log`, and the block begins once `ready` says so.

    Args:
        program: What to run.
        ready: Asked again and again; must answer quickly and raise nothing.
        log: Overwritten.
        timeout: Seconds to wait for `ready`, and then to wait for the program's end before it is killed.

    Raises:
        ConfigurationError: It ended or did not get ready in time; the last line it wrote is in the message.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(program.argv, stdout=output, **spawn_options(program))
    try:
        _wait_ready(program, process, ready, log, timeout)
        yield
    finally:
        stop(process, program.stop_signal, timeout)


def _wait_ready(
    program: Program, process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path, timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ConfigurationError(f"{program.name} did not start: {last_line(log)} (all of it: {log})")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], stop_signal: Signals, timeout: float) -> None:
    """Ask the process to end, kill it after `timeout` seconds, and reap it; one that has ended is only reaped."""
    process.send_signal(stop_signal)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_line(log: Path) -> str:
    """The last line of a log that is not blank, or a word for none."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it wrote nothing"


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now; connections lingering in TIME_WAIT do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def choose_port(name: str, wanted: int | None, memory: Path) -> int:
    """The port `wanted`, or the one remembered in the file `memory` if it is still free, or any free one.

    Raises:
        ConfigurationError: The wanted port is taken.
    """
    if wanted is not None:
        if not port_is_free(wanted):
            raise ConfigurationError(
                f"{name} cannot listen on 127.0.0.1:{wanted}: the port is in use; free it or choose another"
            )
        return wanted
    remembered = int(memory.read_text()) if memory.is_file() else 0
    if remembered and port_is_free(remembered):
        return remembered
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    memory.write_text(f"{port}\n")
    return port


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Create `folder` and turn what the block meets on a read-only disk or in a foreign folder into one line.

    Raises:
        ConfigurationError: The folder, or something in it, cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        place = error.filename or folder
        raise ConfigurationError(
            f"cannot write {place}: {error.strerror}; it must belong to you, on a writable disk"
        ) from error
