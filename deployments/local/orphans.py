"""Finding and ending processes that carry a stack's mark in their environment, whoever their parent is now."""

import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import psutil

MARK: Final = "WISHCRAFT_STACK"


def find_marked(mark: str) -> list[psutil.Process]:
    """Every process that this user may inspect and that was started with MARK=`mark`."""
    return [process for process in psutil.process_iter() if is_marked(process, mark)]


def is_marked(process: psutil.Process, mark: str) -> bool:
    """Whether it carries the mark; a process that has ended, or is another user's, does not."""
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False


def end(processes: Iterable[psutil.Process], patience: float) -> None:
    """Ask the processes and their descendants to end, kill what is left after `patience` seconds, and reap children."""
    doomed = _with_descendants(processes)
    _send(doomed, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(doomed, timeout=patience)
    _send(stubborn, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=1)


def _with_descendants(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for process in processes:
        try:
            found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except psutil.NoSuchProcess:
            found[process.pid] = process  # a zombie to be reaped
    return list(found.values())


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
