"""A streaming replica of the tests' PostgreSQL."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg

from deployments.sandbox.postgres import _SETTINGS, _accepts_connections, _binary, _chown_from_root, _unprivileged
from deployments.sandbox.processes import Program, choose_port, running
from tests.support.waiting import block_until

_MORE_SETTINGS: Final = ("fsync=off", "max_standby_streaming_delay=-1")
"""Replay waits for a query of a test that it would cancel."""

_POSITION: Final = """
SELECT (SELECT status FROM pg_stat_wal_receiver), pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn(),
    pg_get_wal_replay_pause_state()
"""
_SESSIONS: Final = "SELECT datname, state, wait_event, left(query, 80) FROM pg_stat_activity WHERE state IS NOT NULL"


class Standby:
    """A running replica, by its superuser's URL."""

    def __init__(self, url: str, primary: str) -> None:
        self.url = url
        self._primary = primary

    def pause_replay(self) -> None:
        """From now on, show nothing new."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_pause()")

            def is_paused() -> bool:
                return connection.execute("SELECT pg_get_wal_replay_pause_state()").fetchone() == ("paused",)

            block_until(is_paused, "the replica does not pause")

    def resume_replay(self) -> None:
        """Catch up."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SELECT pg_wal_replay_resume()")

    def describe(self) -> str:
        """The replication state: what it receives and replays, and what may keep it from that."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            [position] = connection.execute(_POSITION).fetchall()
            sessions = connection.execute(_SESSIONS).fetchall()
        return f"receiver, received, replayed, pause: {position}; sessions: {sessions}"

    def flush_primary(self) -> None:
        """Let the primary flush all commits, which the tests' server does some time after it has answered."""
        with psycopg.connect(self._primary, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = on")
            connection.execute("SELECT pg_logical_emit_message(true, '', '')")


@contextmanager
def standby(folder: Path, primary: str) -> Iterator[Standby]:
    """A replica of the server at `primary`, a superuser's URL."""
    data = folder / "standby"
    data.mkdir(mode=0o700)
    _chown_from_root(data)
    copy = (_binary("pg_basebackup"), "--pgdata", str(data), "--dbname", primary, "--write-recovery-conf",
            "--checkpoint=fast", "--no-sync", "--no-manifest")  # fmt: skip
    subprocess.run(_unprivileged(copy, data), cwd=data, check=True, capture_output=True)  # noqa: S603  ours
    port = choose_port("PostgreSQL", None, folder / "standby.port")
    settings = [word for each in (*_SETTINGS, *_MORE_SETTINGS, f"port={port}") for word in ("-c", each)]
    argv = _unprivileged((_binary("postgres"), "-D", str(data), *settings), data)
    server = urlsplit(primary)
    url = server._replace(netloc=f"{server.username}:{server.password}@127.0.0.1:{port}").geturl()
    program = Program("standby", argv, cwd=data, stop_signal=signal.SIGINT)
    with running(program, lambda: _accepts_connections(url), folder / "standby.log"):
        yield Standby(url, primary)
