"""A `make` that is interrupted on its own (`kill -INT`, not a terminal's Ctrl-C) stops what it started."""

import signal
import subprocess
import sys
from pathlib import Path

MAKEFILE = """
up:
\t@exec {python} -c "import asyncio; from deployments.local.make_signals import watch_make as watch; \\
\tprint('watching', flush=True); asyncio.run(watch(lambda: print('interrupted', flush=True)))"
"""


def test_interrupted_make_is_noticed(tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    makefile.write_text(MAKEFILE.format(python=sys.executable))
    heedful = ["env", "--default-signal=INT"]  # who runs the tests in the background may have told them to ignore it
    make = subprocess.Popen(  # noqa: S603  ours
        [*heedful, "make", "--no-print-directory", "-f", makefile, "up"], stdout=subprocess.PIPE
    )
    assert make.stdout is not None
    with make.stdout:
        assert make.stdout.readline() == b"watching\n"
        make.send_signal(signal.SIGINT)
        assert make.stdout.readline() == b"interrupted\n"
    make.wait(20)
