"""Detects that the parent `make` was interrupted: `make` forwards SIGTERM to its children, but not SIGINT."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 0.3


async def watch_make(on_interrupt: Callable[[], None]) -> None:
    """Call `on_interrupt` once the parent handles a SIGINT or has exited. Returns at once without `make`."""
    parent = os.getppid()
    if _read(parent, "comm").strip() not in {"make", "gmake"}:
        return
    while os.getppid() == parent and not is_handling_interrupt(parent):  # noqa: ASYNC110  there is no event to wait for
        await asyncio.sleep(_POLL_SECONDS)
    on_interrupt()


def is_handling_interrupt(pid: int) -> bool:
    """Whether the process is inside its SIGINT handler: the kernel blocks a signal during its handler (proc(5))."""
    lines = _read(pid, "status").splitlines()
    blocked = next((line.split()[1] for line in lines if line.startswith("SigBlk:")), "0")
    return bool(int(blocked, 16) >> (signal.SIGINT - 1) & 1)


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:  # it has exited
        return ""
