"""Finds and terminates processes by the stack id in their environment, also after their parent exited."""

import signal
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import psutil

STACK_ID_VARIABLE: Final = "WISHCRAFT_STACK"


def find_processes(stack_id: str) -> list[psutil.Process]:
    """All processes of this user that were started with this stack id in their environment."""
    return [process for process in psutil.process_iter() if belongs_to(process, stack_id)]


def belongs_to(process: psutil.Process, stack_id: str) -> bool:
    """Whether the process has this stack id; False if it has exited or belongs to another user."""
    try:
        return process.environ().get(STACK_ID_VARIABLE) == stack_id
    except (psutil.Error, OSError):
        return False


def terminate(processes: Iterable[psutil.Process], patience: float) -> None:
    """Send SIGTERM to the processes and their descendants, SIGKILL after `patience` seconds, and reap children."""
    targets = _with_descendants(processes)
    _send(targets, signal.SIGTERM)
    _, remaining = psutil.wait_procs(targets, timeout=patience)
    _send(remaining, signal.SIGKILL)
    psutil.wait_procs(remaining, timeout=1)


def _with_descendants(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for process in processes:
        try:
            found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        except psutil.NoSuchProcess:
            found[process.pid] = process  # a zombie, still to be reaped
    return list(found.values())


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
