"""`python -m tests.support.coverage_gates`: whether the measured tests cover enough; exits with 1 if not."""

import os
import sys
from pathlib import Path
from typing import Final

from coverage import Coverage

GATES: Final = (("wishcraft", ["wishcraft/*"], 95.0), ("all packages", None, 90.0))
"""Name, files, and the least percentage of lines and branches."""


def main() -> int:
    """Print a line for each gate, after a table of the files below them, and return the exit code."""
    coverage = Coverage()
    coverage.load()
    lines: list[str] = []
    passed = True
    for name, files, least in GATES:
        with Path(os.devnull).open("w") as nowhere:
            covered = coverage.report(include=files, file=nowhere)
        verdict = "passed" if covered >= least else "FAILED"
        passed &= covered >= least
        lines.append(f"Coverage of {name}: {covered:.1f} % of lines and branches, at least {least:g} %: {verdict}")
    if not passed:
        coverage.report(sort="miss")
    print("\n".join(lines))  # noqa: T201  a command line
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
