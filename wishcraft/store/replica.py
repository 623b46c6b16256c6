"""A streaming replica of PostgreSQL, for reads that may be a few seconds old."""

import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from enum import StrEnum
from math import inf
from typing import Any, Final, TypeVar

from sqlalchemy import URL, make_url, text

from wishcraft.errors import DatabaseUnavailable
from wishcraft.store.deadline import within
from wishcraft.store.engine import Database

ANSWER_SECONDS: Final = 1.0
_CONNECTIONS: Final = 5
_POSITIONS: Final = 600
"""Positions of the primary that are kept, one for each check."""
_PORT: Final = 5432
# What is flushed, and not what is written: a replica receives no more, so on an idle primary the two are equal.
_PRIMARY_POSITION: Final = text("""
SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint, system_identifier FROM pg_control_system()
""")
_REPLAYED_POSITION: Final = text("""
SELECT CASE WHEN pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END,
    system_identifier
FROM pg_control_system()
""")
_log: Final = logging.getLogger(__name__)
T = TypeVar("T")


class ReplicaFault(StrEnum):
    """Fault of a replica, found by a check or a failed read, without addresses."""

    PRIMARY_SILENT = "cannot be checked while DATABASE_URL does not answer"
    SILENT = "does not answer"
    NO_REPLICA = "is not a streaming replica"
    OTHER_SYSTEM = "is a replica of another system than DATABASE_URL"


class Replica:
    """The replica's connections, and how far it lags: used while that is known and within the bound.

    A check asks the primary for its position in the write-ahead log, and then the replica whether it has replayed it.
    If so, the replica has all that was committed when the primary was asked. So neither server's clock matters, an idle
    primary is not a lag, and a replica that receives nothing, or does not answer, lags more with every second.
    """

    def __init__(
        self, url: str, primary: Database, max_lag_seconds: float, *, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """Not used before the first check.

        Args:
            url: As that of the primary, with the replica's address.
            primary: What to ask for the position.
            max_lag_seconds: The bound.
            answer_seconds: How long a reader waits for the replica, before it asks the primary.
        """
        self.max_lag_seconds: Final = max_lag_seconds
        self._db = Database(url, pool_size=_CONNECTIONS)
        self._primary = primary
        self.clock: Callable[[], float] = time.monotonic
        self.answer_seconds = answer_seconds
        self._positions: deque[tuple[float, int]] = deque(maxlen=_POSITIONS)
        self._current_at = -inf
        self.fault: ReplicaFault | None = None
        """Of the last check, or of a read since; None if the lag is all there is to say."""

    @property
    def lag_seconds(self) -> float:
        """How long ago the replica had all that was committed; infinite if that is not known."""
        return self.clock() - self._current_at

    @property
    def is_current(self) -> bool:
        """Whether the lag is within the bound."""
        return self.lag_seconds <= self.max_lag_seconds

    async def check(self) -> float:
        """Find out how far the replica lags; returns the lag in seconds.

        Raises:
            DatabaseUnavailable: One of the two did not answer, or the other is not a replica of the primary.
        """
        asked_at = self.clock()
        with self._failing_as(ReplicaFault.PRIMARY_SILENT):
            async with self._primary.autocommit() as session:
                position, system = (await session.execute(_PRIMARY_POSITION)).one()
        self._positions.append((asked_at, position))
        with self._failing_as(ReplicaFault.SILENT):
            async with self._db.autocommit() as session:
                replayed, replicated_system = (await session.execute(_REPLAYED_POSITION)).one()
        if replayed is None or system != replicated_system:
            self.fault = ReplicaFault.NO_REPLICA if replayed is None else ReplicaFault.OTHER_SYSTEM
            self._current_at = -inf
            raise DatabaseUnavailable(f"DATABASE_REPLICA_URL {self.fault}")
        self.fault = None
        while self._positions and self._positions[0][1] <= replayed:
            self._current_at = max(self._current_at, self._positions.popleft()[0])
        return self.lag_seconds

    async def try_read(self, query: Callable[[Database], Coroutine[Any, Any, T]]) -> T | None:
        """The query's result; None if the replica lags too much, fails or does not answer: then ask the primary.

        After a failure, the replica is not used until a check has found it current again.
        """
        if not self.is_current:
            return None
        try:
            return await within(self.answer_seconds, query(self._db))
        except Exception as error:  # noqa: BLE001  the primary answers, or fails with the same error
            _log.warning("The replica gave no answer, the primary is asked: %s", error)
            self.fault = ReplicaFault.SILENT
            self._current_at = -inf
            return None

    async def close(self) -> None:
        """Close every connection."""
        await self._db.close()

    @contextmanager
    def _failing_as(self, fault: ReplicaFault) -> Iterator[None]:
        """Keep the fault if the body fails, or is cancelled because it takes too long."""
        try:
            yield
        except BaseException:
            self.fault = fault
            raise


def find_replica_url(primary: str, replica: str | None) -> str | None:
    """The URL of the replica for the application: the address of `replica`, with the login and database of `primary`.

    A streaming replica has the primary's roles. None if there is no replica, or both are the same server.
    """
    if not replica:
        return None
    own, other = make_url(primary), make_url(replica)
    if _address(own) == _address(other):
        return None
    return own.set(host=other.host, port=other.port, query=other.query).render_as_string(hide_password=False)


def _address(url: URL) -> tuple[object, ...]:
    return (url.host, url.port or _PORT, url.query.get("host"))
