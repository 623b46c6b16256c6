"""A process that outlives a killed supervisor just long enough to end what it left behind.

Its standard input is a pipe from the supervisor: end of file means that the supervisor is gone, however it went.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.local.leftovers import end, find_marked


@contextmanager
def guarded(mark: str, root: Path) -> Iterator[None]:
    """Have the processes with this mark ended once this process is gone, or the block is left."""
    argv = (sys.executable, "-m", "deployments.local.guard", mark)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=root, start_new_session=True):
        yield


def main() -> None:
    """Wait for the supervisor's end, then end every process with the mark, and those they started meanwhile."""
    sys.stdin.read()
    while marked := find_marked(sys.argv[1]):
        end(marked, patience=3)


if __name__ == "__main__":
    main()
