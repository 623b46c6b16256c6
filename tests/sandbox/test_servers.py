"""The embedded PostgreSQL and Valkey: start, durability, and errors in one line."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from redis import AuthenticationError, Redis

from deployments.sandbox.postgres import postgres
from deployments.sandbox.valkey import valkey
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.errors import ConfigurationError

Server = Callable[..., AbstractContextManager[str]]


def test_postgres_starts_in_a_private_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with postgres(tmp_path, durable=False) as url, psycopg.connect(url) as connection:
        assert connection.info.server_version // 10_000 == 18
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert tmp_path.stat().st_uid == os.geteuid()


def test_postgres_keeps_its_data_and_its_port(tmp_path: Path) -> None:
    with postgres(tmp_path, durable=False) as first, psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with postgres(tmp_path, durable=False) as second, psycopg.connect(second) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchall() == [(42,)]
    assert first == second


def test_postgres_restarts_after_a_kill(tmp_path: Path) -> None:
    with postgres(tmp_path, durable=False):
        _postmaster(tmp_path).kill()
    assert (tmp_path / "postgres" / "postmaster.pid").exists()
    with postgres(tmp_path, durable=False) as url, psycopg.connect(url):
        pass


def test_postgres_log_has_no_row_and_no_statement_of_an_error(tmp_path: Path) -> None:
    with postgres(tmp_path, durable=False) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (email text PRIMARY KEY, street text NOT NULL)")
        connection.execute("INSERT INTO people VALUES ('chloe@example.com', 'Rue des Fleurs')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO people VALUES ('chloe@example.com', 'Rue des Fleurs')")
        with pytest.raises(psycopg.errors.NotNullViolation):
            connection.execute("INSERT INTO people VALUES ('laurent@example.com', NULL)")
    log = (tmp_path / "postgres.log").read_text()
    assert "violates unique constraint" in log
    assert "violates not-null constraint" in log
    assert not [word for word in ("chloe", "laurent", "Fleurs", "DETAIL", "STATEMENT") if word in log]


def test_lock_file_with_the_pid_of_another_program_does_not_prevent_a_start(tmp_path: Path) -> None:
    with postgres(tmp_path, durable=False):
        pass
    (tmp_path / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{tmp_path / 'postgres'}\n")
    with postgres(tmp_path, durable=False) as url, psycopg.connect(url):
        pass


def test_interrupted_initdb_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "postgres.unfinished" / "base").mkdir(parents=True)
    with postgres(tmp_path, durable=False) as url, psycopg.connect(url):
        pass


@pytest.mark.parametrize(
    ("file", "kind"), [("PG_VERSION", "PostgreSQL 16"), ("letter", "an unknown version of PostgreSQL")]
)
def test_data_of_another_major_version_is_refused_in_one_line(tmp_path: Path, file: str, kind: str) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    (data / file).write_text("16\n")
    with pytest.raises(ConfigurationError, match=rf"holds data of {kind}, not of 18: .*`make reset`") as caught:
        postgres(tmp_path).__enter__()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("server", [postgres, valkey])
def test_port_in_use_is_refused_in_one_line(server: Server, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: the port is in use") as caught:
            server(tmp_path, port=port).__enter__()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("server", [postgres, valkey])
def test_read_only_folder_is_refused_in_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot write .*file") as caught:
        server(tmp_path / "file").__enter__()
    assert "\n" not in str(caught.value)


def test_valkey_keeps_its_data_and_its_port(tmp_path: Path) -> None:
    with valkey(tmp_path) as first, Redis.from_url(first) as client:
        client.set("kept", "42")
    with valkey(tmp_path) as second, Redis.from_url(second) as client:
        assert client.get("kept") == b"42"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lfu"}
    assert first == second


def test_valkey_requires_a_password_that_only_its_owner_can_read(tmp_path: Path) -> None:
    with valkey(tmp_path, durable=False) as url:
        with (
            Redis.from_url(urlsplit(url)._replace(netloc=f"127.0.0.1:{urlsplit(url).port}").geturl()) as stranger,
            pytest.raises(AuthenticationError),
        ):
            stranger.ping()
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=20) as page:
            page.sendall(b"POST / HTTP/1.1\r\nHost: attacker.example\r\n\r\nFLUSHALL\r\n")
            assert page.recv(100) == b""
    assert len(urlsplit(url).password or "") == 32
    assert (tmp_path / "valkey.conf").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("server", [postgres, valkey])
def test_files_of_a_server_are_its_owners_alone(server: Server, tmp_path: Path) -> None:
    with server(tmp_path, durable=False):
        pass
    [log] = tmp_path.glob("*.log")
    assert log.stat().st_mode & 0o777 == 0o600
    written = [path for path in (tmp_path / log.stem).rglob("*") if path.is_file()]
    assert not [path for path in written if path.stat().st_mode & 0o077]


def test_killed_parent_leaves_no_server_process(tmp_path: Path) -> None:
    code = """
import sys, pathlib, time
from deployments.sandbox.postgres import postgres
from deployments.sandbox.valkey import valkey
folder = pathlib.Path(sys.argv[1])
with postgres(folder, durable=False), valkey(folder, durable=False):
    print("ready", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603  the text above
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == b"ready\n"
    descendants = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, left = psutil.wait_procs(descendants, timeout=PATIENCE_SECONDS)
    assert len(descendants) > 2
    assert left == []


def _postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postgres" / "postmaster.pid").read_text().split()[0]))
