"""An interpreter that has imported much already, and runs each command in a fork of itself.

A command that ends at once costs a new interpreter a second, nearly all of it for imports. The fork ends as
`python -m` does: the interpreter itself turns what is raised into an exit code and an output.
"""

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import TracebackType
from typing import IO, Self

from deployments.sandbox.processes import ROOT
from tests.support.waiting import PATIENCE_SECONDS


class WarmInterpreter:
    """Runs commands of this project; its modules are imported without an environment of theirs."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """`modules` are imported at once, with these variables alone. A module that a command runs cannot be one."""
        command = [sys.executable, "-m", __name__, *modules]
        self._process = subprocess.Popen(  # noqa: S603  ours
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """The end of `python -m` with these arguments and variables; one that does not end is killed by SIGALRM."""
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (stdout, stderr)]
            assert self._process.stdin
            assert self._process.stdout
            self._process.stdin.write(json.dumps([arguments, dict(environment), files]) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(arguments, code, _read(stdout), _read(stderr))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=PATIENCE_SECONDS)


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _next_command() -> list[str] | None:
    """In a fork, the arguments of the command that it shall run; in the interpreter itself nothing, at the end."""
    for line in sys.stdin:
        arguments, environment, files = json.loads(line)
        if (child := os.fork()) == 0:
            _take_over(environment, files)
            return list(arguments)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201  the answer
    return None


def _take_over(environment: dict[str, str], files: list[str]) -> None:
    for number, name, mode in ((0, os.devnull, os.O_RDONLY), *((n, f, os.O_WRONLY) for n, f in enumerate(files, 1))):
        descriptor = os.open(name, mode)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    signal.alarm(PATIENCE_SECONDS)


if __name__ == "__main__":
    for _module in sys.argv[1:]:
        import_module(_module)
    gc.freeze()  # else each fork would look through all of it at its end, and so copy its memory
    if command := _next_command():
        sys.argv = command
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)
