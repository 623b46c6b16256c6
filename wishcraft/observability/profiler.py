"""Lets Sentry's profiler look at all threads without a deadlock, which Python before 3.11.9 may have.

`sys._current_frames` holds a lock of the interpreter. There a garbage collection may run a destructor, which lets other
threads run; one of them then starts or ends a thread, and waits for that lock with the GIL (CPython issue 106883).
"""

import gc
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

_FIXED_IN: Final = (3, 11, 9)
_lock: Final = threading.Lock()


def prevent_deadlock() -> None:
    """Collect no garbage in `sys._current_frames` from now on, in a Python that would."""
    if sys.version_info < _FIXED_IN:
        sys._current_frames = current_frames  # noqa: SLF001  as Sentry's profiler calls it


def current_frames() -> dict[int, FrameType]:
    """The frame of each thread by its id, as of `sys._current_frames`; no garbage is collected meanwhile."""
    with _lock:
        is_collecting = gc.isenabled()
        gc.disable()
        try:
            return _current_frames()
        finally:
            if is_collecting:
                gc.enable()


_current_frames: Final[Callable[[], dict[int, FrameType]]] = sys._current_frames  # noqa: SLF001
