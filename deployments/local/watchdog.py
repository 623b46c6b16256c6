"""A process that outlives a killed supervisor just long enough to clear away what it left behind.

Its standard input is a pipe from the supervisor: end of file means that the supervisor is gone, however it went.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.local.orphans import end, find_marked


@contextmanager
def watched(mark: str, board: Path, root: Path) -> Iterator[None]:
    """Have the board deleted, and the processes with this mark ended, once this process is gone or leaves the block."""
    argv = (sys.executable, "-m", "deployments.local.watchdog", mark, str(board))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=root, start_new_session=True):
        yield


def main() -> None:
    """Wait for the supervisor's end, then delete its board and end every process with its mark."""
    mark, board = sys.argv[1:]
    sys.stdin.read()
    Path(board).unlink(missing_ok=True)
    while marked := find_marked(mark):  # again: those that were ended may have started others meanwhile
        end(marked, patience=1)


if __name__ == "__main__":
    main()
