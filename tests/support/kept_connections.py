"""Connections to PostgreSQL that one test's pool leaves to the next, so that not each test pays for new ones.

A new connection costs PostgreSQL some 10 ms: a process, and the catalogue of all tables. A pool gets a kept one only if
it would have connected in the very same way. `DISCARD ALL` has made it as new, except for its process id and its age.
"""

import select
from collections import defaultdict
from contextlib import suppress
from typing import Any, Final, Self

from psycopg import AsyncConnection, generators
from psycopg.abc import PQGenConn
from psycopg.errors import Error
from psycopg.pq import ConnStatus, ExecStatus, PipelineStatus, TransactionStatus
from psycopg.pq import PGconn as NewPGconn
from psycopg.pq.abc import PGconn
from sqlalchemy import event

from wishcraft.store.engine import Database

_MAX_KEPT: Final = 6
"""With the same parameters. A pool seldom opens as many."""
_kept: Final = defaultdict[str, list[PGconn]](list)
"""Idle connections by what they were opened with: address, login, options and limits of time."""
_engines: Final = defaultdict[tuple[str, int], list[dict[str, Any]]](list)
"""The engines of closed databases and what makes their sessions, by what they were opened with."""
_PARTS: Final = ("engine", "_unpooled", "_transactions", "_repeatable_reads", "_autocommits")


class KeptConnection(AsyncConnection[tuple[Any, ...]]):
    """A connection whose `close` keeps that of libpq if it is idle and in order."""

    _opened_with = ""

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        pgconn = _find_kept(conninfo) or (yield from generators.connect(conninfo))
        connection = cls(pgconn)
        connection._opened_with = conninfo
        return connection

    async def close(self) -> None:
        """Close the connection for its user."""
        if not self.closed and _can_be_kept(self.pgconn) and len(_kept[self._opened_with]) < _MAX_KEPT:
            self.pgconn.send_query(b"DISCARD ALL")  # the answer is read before the next use
            _kept[self._opened_with].append(self.pgconn)
            self.pgconn = NewPGconn.connect_start(b"closed")  # no parameters: a connection that failed at once
            self._closed = True
        await super().close()


class DatabaseOnKeptConnections(Database):
    """The application's database; those beside the pool are real ones, because locks end with their connection.

    It leaves its engines, too, with the statements that they have compiled and what they have asked the server.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._opened_with: Final = (url, pool_size)
        self._is_left = False
        if kept := _engines[self._opened_with]:
            vars(self).update(kept.pop())
        else:
            super().__init__(url, pool_size=pool_size)
            event.listen(self.engine.sync_engine, "do_connect", _use_kept)

    async def close(self) -> None:
        """Close the pool's connections, and leave the engine, which has a new pool then, to the next database."""
        if not self._is_left:
            self._is_left = True
            await super().close()
            _engines[self._opened_with].append({name: vars(self)[name] for name in _PARTS})


def close_kept_connections() -> None:
    """Close those that no pool uses."""
    for connections in _kept.values():
        for pgconn in connections:
            pgconn.finish()
    _kept.clear()


def _use_kept(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
    parameters["async_creator_fn"] = KeptConnection.connect


def _can_be_kept(pgconn: PGconn) -> bool:
    return (
        pgconn.transaction_status == TransactionStatus.IDLE
        and pgconn.pipeline_status == PipelineStatus.OFF
        and not _is_readable(pgconn)
    )


def _find_kept(conninfo: str) -> PGconn | None:
    with suppress(IndexError):
        while True:
            pgconn = _kept[conninfo].pop()
            if _is_as_new(pgconn):
                return pgconn
            pgconn.finish()
    return None


def _is_as_new(pgconn: PGconn) -> bool:
    """Whether PostgreSQL has discarded everything by now, and has sent nothing since, such as its goodbye."""
    try:
        pgconn.consume_input()
        if pgconn.is_busy():
            return False
        answer, end = pgconn.get_result(), pgconn.get_result()
    except Error:
        return False
    discarded = answer is not None and answer.status == ExecStatus.COMMAND_OK and end is None
    return discarded and pgconn.status == ConnStatus.OK and _can_be_kept(pgconn)


def _is_readable(pgconn: PGconn) -> bool:
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))
