"""Starts and stops child processes. Linux only; independent of the particular programs.

Every child leads its own session, so Ctrl-C reaches only the parent, and the kernel signals it when the parent dies,
even by `kill -9`.
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

from deployments.sandbox.secret_files import open_private
from wishcraft.errors import ConfigurationError

ROOT: Final = Path(__file__).resolve().parents[2]
"""The checkout."""
LAST_PORT: Final = 65_535
_PR_SET_PDEATHSIG: Final = 1  # prctl(2), PR_SET_PDEATHSIG
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """A command, its folder and its stop signal; `env`, if given, replaces the environment."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] | None = None
    stop_signal: Signals = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Server:
    """A server that can be started: its program, URL and readiness check."""

    program: Program
    url: str
    ready: Callable[[], bool]


def spawn_options(program: Program) -> dict[str, Any]:
    """Keyword arguments of `subprocess.Popen` and `asyncio.create_subprocess_exec` for this program.

    Only the owner can read the files that it creates.

    Start it from a thread that outlives it: the kernel treats the end of that thread as the parent's death.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(program.stop_signal), 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the prctl call
            os._exit(1)

    return {
        "cwd": program.cwd,
        "env": program.env,
        "stdin": subprocess.DEVNULL,
        "stderr": subprocess.STDOUT,
        "start_new_session": True,
        "umask": 0o077,
        "preexec_fn": die_with_parent,
    }


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init, so that it can terminate them."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@contextmanager
def running(
    program: Program, ready: Callable[[], bool], log: Path, timeout: float = 30
) -> Iterator[subprocess.Popen[bytes]]:
    """Context manager: run `program`, wait until it is ready, and yield its process; stop it at the end.

    Args:
        program: The program.
        ready: Readiness check, polled; must be fast and never raise.
        log: File for its output; overwritten.
        timeout: Seconds to wait for `ready`, and at the end for the exit before a kill.

    Raises:
        ConfigurationError: It exited or was not ready in time; the message has its last log line.
    """
    with open(log, "wb", opener=open_private) as output:
        process = subprocess.Popen(program.argv, stdout=output, **spawn_options(program))
    try:
        _wait_ready(program, process, ready, log, timeout)
        yield process
    finally:
        stop(process, program.stop_signal, timeout)


def _wait_ready(
    program: Program, process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path, timeout: float
) -> None:
    deadline = time.monotonic() + timeout
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ConfigurationError(f"{program.name} did not start: {last_line(log)} (log: {log})")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], stop_signal: Signals, timeout: float) -> None:
    """Send the stop signal, kill the process after `timeout` seconds, and reap it."""
    process.send_signal(stop_signal)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_line(log: Path) -> str:
    """The last non-blank line of a log, or a placeholder."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no output"


def port_is_free(port: int) -> bool:
    """Whether a server can listen on 127.0.0.1:`port`; connections in TIME_WAIT do not block it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port on 127.0.0.1 that no server uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def choose_port(name: str, wanted: int | None, file: Path) -> int:
    """The port `wanted`, or the port stored in `file` if still free, or any free port, which is stored.

    Raises:
        ConfigurationError: The wanted port is in use.
    """
    if wanted is not None:
        if not port_is_free(wanted):
            raise ConfigurationError(
                f"{name} cannot listen on 127.0.0.1:{wanted}: the port is in use; stop its process or choose another"
            )
        return wanted
    text = file.read_text().strip() if file.is_file() else ""
    stored = int(text) if text.isdecimal() else 0  # a full disk or a crash may have left something else
    if 0 < stored <= LAST_PORT and port_is_free(stored):
        return stored
    port = free_port()
    file.write_text(f"{port}\n")
    return port


@contextmanager
def writable_folder(folder: Path) -> Iterator[None]:
    """Context manager: create `folder` and convert an OSError of the block into a one-line error.

    Raises:
        ConfigurationError: The folder or a file in it is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        place = error.filename or folder
        raise ConfigurationError(f"cannot write {place}: {error.strerror}; make it writable for this user") from error
