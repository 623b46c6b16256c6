"""The connection to Redis: small time limits, no retries, and the era that the server is in."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final, NamedTuple

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from wishcraft.cache import keys, scripts
from wishcraft.cache.batched_reader import BatchedReader
from wishcraft.cache.circuit_breaker import CircuitBreaker
from wishcraft.errors import CacheUnavailable

READ_SECONDS: Final = 0.1
"""A request's first question is given up after this; a healthy server answers in less than a thousandth of a second."""
_CONNECTIONS: Final = 32
_NO_RETRIES: Final = 0  # redis-py's own default is ten, with pauses: seconds on a request's path


class Memory(NamedTuple):
    """Bytes used and allowed (0: no limit), and the policy by which keys are evicted."""

    used: int
    limit: int
    policy: str


class Server:
    """One Redis server, its primary; `redis` serves any command, `era` says which entries are valid.

    Every new connection learns the era before its first command, so no answer of a restarted server is read
    with the old one in mind.
    """

    def __init__(self, url: str, password: SecretStr | None, timeout: float, *, breaks: bool) -> None:
        secret = {} if password is None else {"password": password.get_secret_value()}
        pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), _NO_RETRIES),
            redis_connect_func=self._greet,
            # With them on, redis-py takes a connection that the server has closed for one with news to read.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **secret,
        )
        self.redis = Redis.from_pool(pool)
        self.reads = BatchedReader(
            partial(_connected, pool), READ_SECONDS if breaks else timeout, self._check, self._fail
        )
        self.era = b""
        self.breaker = CircuitBreaker(self.learn) if breaks else None
        self._turns = count(1)
        self._adopted = 0

    async def learn(self) -> float:
        """Ask for the era, beginning one if there is none; returns its age in seconds.

        Raises:
            CacheUnavailable: Redis is away.
        """
        turn = next(self._turns)
        with translated():
            return self._adopt(turn, await self.redis.eval(scripts.ERA, 1, keys.ERA, secrets.token_bytes(8)))

    async def memory(self) -> Memory:
        """How much is used, and what goes when it runs out.

        Raises:
            CacheUnavailable: Redis is away.
        """
        with translated():
            info = await self.redis.info("memory")
        return Memory(int(info["used_memory"]), int(info["maxmemory"]), str(info["maxmemory_policy"]))

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn whatever redis-py raises within the block into `CacheUnavailable`, and let the breaker know.

        What the server answers with an error, it has answered: only silence and lost connections open the breaker.

        Raises:
            CacheUnavailable: The server does not answer, or has not for a moment.
        """
        self._check()
        try:
            with translated():
                yield
        except CacheUnavailable as error:
            if not isinstance(error.__cause__, ResponseError):
                self._fail()
            raise

    async def close(self) -> None:
        """Stop probing, and close every connection."""
        if self.breaker:
            await self.breaker.close()
        self.reads.close()
        await self.redis.aclose()

    def _check(self) -> None:
        if self.breaker:
            self.breaker.check()

    def _fail(self) -> None:
        if self.breaker:
            self.breaker.open()

    async def _greet(self, connection: AbstractConnection) -> None:
        turn = next(self._turns)
        await connection.on_connect()
        await connection.send_command("EVAL", scripts.ERA, 1, keys.ERA, secrets.token_bytes(8))
        self._adopt(turn, await connection.read_response())

    def _adopt(self, turn: int, reply: tuple[bytes, int]) -> float:
        era, age_ms = reply
        if turn > self._adopted:  # an answer that was asked for earlier may come from a server that is gone
            self._adopted, self.era = turn, era
        return age_ms / 1000


async def _connected(pool: BlockingConnectionPool) -> AbstractConnection:
    """A connection that is not of the pool, made as the pool makes them."""
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py says no types
    await connection.connect()  # type: ignore[no-untyped-call]
    return connection


def connect(url: str, password: SecretStr | None = None, *, timeout: float = 0.5, breaks: bool = False) -> Server:
    """A pool of connections to the primary at `url`, each made when it is first needed.

    Args:
        url: `redis://host:port/db`, or `rediss://` for TLS.
        password: Overrides one in the URL.
        timeout: Seconds to wait for a free connection, for a new one, and for each answer.
        breaks: Whether to give up asking for as long as it does not answer, as requests must and jobs need not.
    """
    return Server(url, password, timeout, breaks=breaks)


@contextmanager
def translated() -> Iterator[None]:
    """Turn whatever redis-py raises within the block into `CacheUnavailable`."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise CacheUnavailable(f"{type(error).__name__}: {error}") from error
