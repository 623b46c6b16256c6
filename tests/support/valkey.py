"""A Valkey of its own for a test that stops or restarts it."""

import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from deployments.sandbox.processes import Program, spawn_options
from deployments.sandbox.valkey import prepare_valkey
from tests.support.waiting import block_until

SETPRIV: Final = shutil.which("setpriv")


class OwnValkey:
    """A Valkey for one test. After `kill` and `start` it has the data of its last snapshot (SAVE)."""

    def __init__(self, folder: Path) -> None:
        self._prepared = prepare_valkey(folder, durable=False)
        self._log = folder / "valkey.log"
        self.url = self._prepared.url
        self.start()

    def start(self) -> None:
        program = self._prepared.program
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(stdout=log, **_start_options(program))
        block_until(self._answers, self._log.read_text, pause=0.002)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", urlsplit(self.url).port or 0)) as connection:
            connection.sendall(f"AUTH {urlsplit(self.url).password}\r\n".encode())
            return connection.recv(3) == b"+OK"  # redis-py pauses between its attempts
        return False

    def forget_snapshot(self) -> None:
        (self._prepared.program.cwd / "dump.rdb").unlink(missing_ok=True)

    def pause(self) -> None:
        """Accept commands without answering them."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _start_options(program: Program) -> dict[str, Any]:
    """The arguments of `Popen`, with a command that asks for the signal at its parent's death itself.

    A function between fork and exec has Python copy the memory tables of a whole test process: 25 ms for each start,
    of which the state machine of the cache makes a thousand.
    """
    options = spawn_options(program)
    if SETPRIV is None:
        return {"args": program.argv, **options}
    del options["preexec_fn"]
    return {"args": (SETPRIV, "--pdeathsig", program.stop_signal.name.removeprefix("SIG"), *program.argv), **options}
