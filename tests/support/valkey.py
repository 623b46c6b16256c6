"""A Valkey of its own for a test that stops or restarts it."""

import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from deployments.sandbox.processes import spawn_options
from deployments.sandbox.valkey import prepare_valkey
from tests.support.waiting import block_until


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
            self._process = subprocess.Popen(program.argv, stdout=log, **spawn_options(program))  # noqa: S603  own server
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
