import os
import subprocess
import sys
from pathlib import Path

from coverage import CoverageData

from deployments.sandbox.processes import ROOT

COVERED = {"wishcraft/__init__.py": [(-1, 1), (1, -1)]}
MISSED = {"wishcraft/domain/batches.py": [(-1, 1)]}


def run_gates(folder: Path, arcs: dict[str, list[tuple[int, int]]]) -> subprocess.CompletedProcess[str]:
    """Run the command on the data of a run that executed these files."""
    data = CoverageData(basename=str(folder / "data"))
    data.add_arcs({str(ROOT / path): executed for path, executed in arcs.items()})
    data.write()
    command = [sys.executable, "-m", "tests.support.coverage_gates"]
    environment = os.environ | {"COVERAGE_FILE": str(folder / "data")}
    environment.pop("COVERAGE_PROCESS_START", None)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def test_each_gate_that_is_passed_has_a_line(tmp_path: Path) -> None:
    ended = run_gates(tmp_path, COVERED)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "Coverage of wishcraft: 100.0 % of lines and branches, at least 95 %: passed",
        "Coverage of all packages: 100.0 % of lines and branches, at least 90 %: passed",
    ]


def test_gate_that_is_failed_ends_with_an_error_and_the_files_below_it(tmp_path: Path) -> None:
    ended = run_gates(tmp_path, COVERED | MISSED)
    assert ended.returncode == 1
    assert "wishcraft/domain/batches.py" in ended.stdout
    assert ended.stdout.splitlines()[-2].endswith("at least 95 %: FAILED")
