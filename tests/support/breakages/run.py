"""Applies breakages to a copy of the tree, and runs their tests there."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.breakages.breakage import Breakage

ROOT: Final = Path(__file__).parents[3]
TIMEOUT_SECONDS: Final = 600
"""For one run of pytest. A single test times out earlier, see `pyproject.toml`."""
_TESTS_FAILED: Final = 1
"""pytest's exit status if tests failed; a wrong node id or a broken import gives another one."""
_FAILED_TEST: Final = re.compile(r"^FAILED (.+?)(?: - |$)", re.MULTILINE)
_PRINT_ORIGINS: Final = (
    "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"
)


class Run(NamedTuple):
    """One run of pytest."""

    status: int | None
    """None if it timed out."""
    output: str
    seconds: float

    @property
    def failed_test(self) -> str | None:
        """The first test that failed; errors in fixtures or imports do not count."""
        found = _FAILED_TEST.search(self.output) if self.status == _TESTS_FAILED else None
        return found[1] if found else None


def copy_tree(copy: Path) -> None:
    """Copy the files that git tracks, and those that it neither tracks nor ignores; no symbolic links."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  git
    for name in filter(None, done.stdout.split("\0")):
        source, target = ROOT / name, copy / name
        if source.is_file() and not source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def make_environment(copy: Path) -> dict[str, str]:
    """This process's environment with the copy as PYTHONPATH, which subprocesses of the tests inherit."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return kept | {"PYTHONPATH": str(copy)}


def check_origins(copy: Path, environment: Mapping[str, str]) -> None:
    """Exit if a Python process would import one of the product's packages from elsewhere than the copy."""
    packages = sorted(path.parent.name for path in copy.glob("*/__init__.py"))
    command = [sys.executable, "-c", _PRINT_ORIGINS, *packages]
    found = subprocess.run(  # noqa: S603  the text above
        command, cwd=copy.parent, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    foreign = [origin for origin in found.stdout.split() if not Path(origin).is_relative_to(copy)]
    if foreign or not packages:
        sys.exit(f"These would not be imported from the copy in {copy}: {', '.join(foreign) or 'no package found'}")


def run_all(wanted: Sequence[Breakage], copy: Path, environment: Mapping[str, str]) -> int:
    """Run the tests without a breakage, then with each breakage; returns the exit status."""
    tests = list(dict.fromkeys(test for each in wanted for test in each.tests))
    unbroken = run_tests(tests, copy, environment)
    if unbroken.status != 0:
        say(f"{unbroken.output}\nThe tests do not pass without a breakage (pytest's status: {unbroken.status}).")
        return 1
    say(f"unbroken    {unbroken.seconds:5.1f} s  {len(wanted)} breakages, {len(tests)} node ids or files: all pass")
    caught = sum([run_one(each, copy, environment) for each in wanted])
    say(f"{caught} of {len(wanted)} breakages were caught.")
    return 0 if caught == len(wanted) else 1


def run_one(breakage: Breakage, copy: Path, environment: Mapping[str, str]) -> bool:
    """Seed one breakage, run its tests and print the result; returns whether it was caught."""
    path = copy / breakage.file
    count = path.read_text().count(breakage.find) if path.is_file() else 0
    if count != 1:
        say(f"out of date         {breakage.name}: `find` occurs {count} times in {breakage.file}")
        return False
    with seeded(breakage, path):
        run = run_tests(breakage.tests, copy, environment, "-x")
    if run.failed_test is None:
        say(f"NOT CAUGHT  {run.seconds:5.1f} s  {breakage.name} (pytest's status: {run.status})\n{run.output}")
        return False
    say(f"caught      {run.seconds:5.1f} s  {breakage.name}: {run.failed_test}")
    return True


@contextmanager
def seeded(breakage: Breakage, path: Path) -> Iterator[None]:
    """Seed the breakage within the block, then restore the file."""
    source = path.read_text()
    _write(path, source.replace(breakage.find, breakage.replace))
    try:
        yield
    finally:
        _write(path, source)


def run_tests(tests: Sequence[str], copy: Path, environment: Mapping[str, str], *options: str) -> Run:
    """Run pytest on these node ids or files in the copy."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *options, *tests]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:  # processes that tests leave behind would keep a pipe open
        status: int | None = None
        try:
            status = subprocess.run(  # noqa: S603  pytest, on the tests above
                command, cwd=copy, env=environment, stdout=output, stderr=output, timeout=TIMEOUT_SECONDS, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            output.write(f"\npytest did not end within {TIMEOUT_SECONDS} s")
        output.seek(0)
        return Run(status, output.read(), time.monotonic() - started)


def _write(path: Path, source: str) -> None:
    """Write a source file and drop its bytecode: Python compares size and seconds only, both may be equal."""
    path.write_text(source)
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)  # noqa: T201  a command line
