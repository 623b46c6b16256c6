"""The connection to Redis: short timeouts, no retries, the circuit breaker, and the server's era."""

import asyncio
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial
from itertools import count
from typing import Any, Final, NamedTuple

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from wishcraft.cache import keys, scripts
from wishcraft.cache.batched_reader import BatchedReader
from wishcraft.cache.circuit_breaker import CircuitBreaker
from wishcraft.cache.lua import Call, Script
from wishcraft.cache.shared_connection import ErrorReply, SharedConnection
from wishcraft.errors import CacheUnavailable

REDIS_READ_SECONDS: Final = 0.1
"""Timeout of a request's first command on an open connection; a healthy server answers in less than a millisecond."""
_CALLS_PER_COMMAND: Final = 50
"""Redis answers no other client during a command: this many fills take it less than a millisecond."""
_CONNECTIONS: Final = 32
_DRIVER: Final = DriverInfo()
"""The client's name and version for Redis. By default redis-py reads its version from the disk for each connection."""
_NO_RETRIES: Final = 0  # redis-py's default is ten with pauses, which adds seconds to a request
_log: Final = logging.getLogger(__name__)


class Memory(NamedTuple):
    """A server's memory: bytes used, limit in bytes (0: none), eviction policy, and evictions since its start."""

    used: int
    limit: int
    policy: str
    evictions: int


class Server:
    """One Redis primary: `redis` runs commands, `run` scripts, `batched_reader` reads entries. `era` is the valid one.

    Every new connection learns the era before its first command, so that no entry of a restarted server is taken for
    one of the era before. A primary that becomes a replica may keep its connections: once it refuses a write, all are
    closed, and new ones lead to the primary that REDIS_URL names then.
    """

    def __init__(
        self, url: str, password: SecretStr | None, timeout: float, *, read_timeout: float, with_breaker: bool
    ) -> None:
        secret = {} if password is None else {"password": password.get_secret_value()}
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), _NO_RETRIES),
            redis_connect_func=self._set_up,
            driver_info=_DRIVER,
            # With notifications on, redis-py takes a connection that the server closed for one with data to read.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **secret,
        )
        self.redis = Redis.from_pool(pool)
        self.breaker = CircuitBreaker(self.learn_era) if with_breaker else None
        make = partial(_connect, pool)
        # Reads have a connection of their own: no reader of an entry waits for a script before its command.
        leave = self._leave_replica
        self._reads = SharedConnection(make, read_timeout, self.breaker, connect_timeout=timeout, on_demoted=leave)
        self._scripts = SharedConnection(make, timeout, self.breaker, on_demoted=leave)
        self.batched_reader = BatchedReader(self._reads)
        self.era = b""
        self._era_requests = count(1)
        self._era_request = 0
        self._leaving: asyncio.Task[None] | None = None

    async def learn_era(self) -> float:
        """Read the era, beginning one if there is none; returns its age in seconds. The breaker's probe.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        request = next(self._era_requests)
        with translate_errors():
            try:
                return self._adopt_era(request, await self.redis.eval(*_read_era()))
            except ReadOnlyError:
                self._leave_replica()
                raise

    async def memory(self) -> Memory:
        """The server's memory, also while the breaker is open.

        Raises:
            CacheUnavailable: Redis does not answer.
        """
        with translate_errors():
            info = await self.redis.info("memory", "stats")
        return Memory(
            used=int(info["used_memory"]),
            limit=int(info["maxmemory"]),
            policy=str(info["maxmemory_policy"]),
            evictions=int(info["evicted_keys"]),
        )

    async def run(self, script: Script, calls: Sequence[Call]) -> list[bytes]:
        """Run the script for each call, under the circuit breaker; the replies.

        Raises:
            CacheUnavailable: Redis does not answer, or refuses a command; it may have run the script for some calls.
        """
        replies: list[bytes] = []
        for start in range(0, len(calls), _CALLS_PER_COMMAND):
            part = calls[start : start + _CALLS_PER_COMMAND]
            key_names, args = script.values(part)
            values = (len(key_names), *key_names, len(part), *args)
            try:
                replies += await self._scripts.execute("EVALSHA", script.batch_sha, *values)
            except ErrorReply as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                replies += await self._scripts.execute("EVAL", script.batch_source, *values)
        return replies

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Run commands under the circuit breaker: an open one refuses, and a failure within the block opens it.

        An error reply is an answer: only timeouts and lost connections open the breaker.

        Raises:
            CacheUnavailable: The breaker is open, or redis-py raised within the block.
        """
        if self.breaker:
            self.breaker.check()
        try:
            yield
        except (RedisError, OSError) as error:
            if isinstance(error, ReadOnlyError):
                self._leave_replica()
            elif self.breaker and not isinstance(error, ResponseError):
                self.breaker.open(f"{type(error).__name__}: {error}")
            raise CacheUnavailable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Stop the breaker's probes, and close every connection."""
        if self.breaker:
            await self.breaker.stop()
        self._reads.close()
        self._scripts.close()
        if self._leaving:
            await asyncio.wait({self._leaving})
        await self.redis.aclose()

    def _leave_replica(self) -> None:
        """Close every connection: each may lead to the primary of before, whose data are those of a replica."""
        _log.warning("Redis has become a replica; the next commands connect again")
        self._reads.close()
        self._scripts.close()
        if self._leaving is None or self._leaving.done():
            self._leaving = asyncio.create_task(self._disconnect_pool(), context=Context())

    async def _disconnect_pool(self) -> None:
        with suppress(RedisError, OSError):
            await self.redis.connection_pool.disconnect()

    async def _set_up(self, connection: AbstractConnection) -> None:
        request = next(self._era_requests)
        await connection.on_connect()
        await connection.send_command("EVAL", *_read_era())
        try:
            reply = await connection.read_response()
        except ReadOnlyError:
            raise RedisConnectionError("REDIS_URL leads to a replica") from None
        self._adopt_era(request, reply)

    def _adopt_era(self, request: int, reply: tuple[bytes, int]) -> float:
        era, age_ms = reply
        if request > self._era_request:  # the reply to an earlier request may come from a server that is gone
            self._era_request, self.era = request, era
        return age_ms / 1000


def _read_era() -> list[Any]:
    """The arguments of `EVAL`, with the id of the era that begins if there is none."""
    key_names, args = scripts.ERA.values([{"era": keys.ERA, "new_era": secrets.token_bytes(8)}])
    return [scripts.ERA.source, len(key_names), *key_names, *args]


async def _connect(pool: BlockingConnectionPool) -> AbstractConnection:
    """A connection with the pool's settings that the pool does not manage."""
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]  # untyped in redis-py
    await connection.connect()  # type: ignore[no-untyped-call]
    return connection


def connect(
    url: str,
    password: SecretStr | None = None,
    *,
    timeout: float = 0.5,
    with_breaker: bool = False,
    breaker_read_timeout: float = REDIS_READ_SECONDS,
) -> Server:
    """A pool of connections to the primary at `url`, each made when it is first needed.

    Args:
        url: `redis://host:port/db`, or `rediss://` for TLS.
        password: Overrides one in the URL.
        timeout: Seconds to wait for a free connection, for a new one, and for each reply.
        with_breaker: Fail at once while the server does not answer; for requests. Jobs can wait.
        breaker_read_timeout: With the breaker, seconds to wait for the reply to a read.
    """
    read_timeout = breaker_read_timeout if with_breaker else timeout
    return Server(url, password, timeout, read_timeout=read_timeout, with_breaker=with_breaker)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise redis-py's errors within the block as `CacheUnavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise CacheUnavailable(f"{type(error).__name__}: {error}") from error
