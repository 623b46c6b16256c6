"""Notices that the `make` which started this process was asked to stop: it passes on a SIGTERM, but not a SIGINT."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

_SECONDS: Final = 0.3


async def when_make_is_interrupted(act: Callable[[], None]) -> None:
    """Call `act` once the parent is handling a SIGINT, or has died. Returns at once if the parent is not `make`."""
    parent = os.getppid()
    if _read(parent, "comm").strip() not in {"make", "gmake"}:
        return
    while os.getppid() == parent and not is_handling_interrupt(parent):  # noqa: ASYNC110  no one tells us
        await asyncio.sleep(_SECONDS)
    act()


def is_handling_interrupt(pid: int) -> bool:
    """Whether the process is inside its handler of SIGINT: the kernel blocks a signal while it is handled (proc(5))."""
    lines = _read(pid, "status").splitlines()
    blocked = next((line.split()[1] for line in lines if line.startswith("SigBlk:")), "0")
    return bool(int(blocked, 16) >> (signal.SIGINT - 1) & 1)


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError:  # it has just died
        return ""
