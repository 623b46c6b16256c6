"""A profiler that looks at all threads, while others start and garbage has destructors."""

import subprocess
import sys

from deployments.sandbox.processes import ROOT
from tests.support.waiting import PATIENCE_SECONDS

PROGRAM = """
import gc, sys, threading, time
from wishcraft.observability.profiler import prevent_deadlock

prevent_deadlock()

class Garbage:
    def __init__(self):
        self.itself = self
    def __del__(self):
        time.sleep(0.001)  # as much as any code that lets other threads run

def start_threads():
    while True:
        threading.Thread(target=time.sleep, args=(0.001,)).start()

threading.Thread(target=start_threads, daemon=True).start()
gc.set_threshold(1)
for _ in range(300):
    Garbage()
    sys._current_frames()
print("done", gc.isenabled())
"""


def test_looking_at_all_threads_does_not_block_those_that_start() -> None:
    ended = subprocess.run(  # noqa: S603  ours
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert ended.stdout == "done True\n"
