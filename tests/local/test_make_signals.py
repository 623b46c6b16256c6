"""A `make` that gets a SIGINT by `kill -INT`, not by Ctrl-C, stops the stack."""

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
    unblocked = ["env", "--default-signal=INT"]  # a background shell may have set SIGINT to be ignored
    make = subprocess.Popen(  # noqa: S603  ours
        [*unblocked, "make", "--no-print-directory", "-f", makefile, "up"], stdout=subprocess.PIPE
    )
    assert make.stdout is not None
    with make.stdout:
        assert make.stdout.readline() == b"watching\n"
        make.send_signal(signal.SIGINT)
        assert make.stdout.readline() == b"interrupted\n"
    make.wait(60)
