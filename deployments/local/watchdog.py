"""Process that cleans up after a killed supervisor, then exits.

Its standard input is a pipe from the supervisor: end of file means that the supervisor has exited.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.local.orphans import find_processes, terminate


@contextmanager
def watchdog(stack_id: str, info_file: Path, root: Path) -> Iterator[None]:
    """Run the watchdog: it acts when this process dies or leaves the block."""
    argv = (sys.executable, "-m", "deployments.local.watchdog", stack_id, str(info_file))
    with subprocess.Popen(argv, stdin=subprocess.PIPE, cwd=root, start_new_session=True):
        yield


def main() -> None:
    """Wait until the supervisor has exited, then delete its stack info and terminate the processes of the stack."""
    stack_id, info_file = sys.argv[1:]
    sys.stdin.read()
    Path(info_file).unlink(missing_ok=True)
    while processes := find_processes(stack_id):  # repeated: a terminated process may have started others
        terminate(processes, patience=1)


if __name__ == "__main__":
    main()
