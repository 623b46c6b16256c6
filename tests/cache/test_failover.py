"""A primary that becomes a replica keeps the connections of its clients, and refuses their writes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from tests.support.failing_proxy import FailingProxy
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from wishcraft.cache import keys
from wishcraft.cache.client import Server, connect
from wishcraft.cache.keys import SessionName
from wishcraft.cache.rate_limiter import Limiter
from wishcraft.cache.registries import RegistryCache
from wishcraft.cache.sessions import SessionCache
from wishcraft.domain.rate_limits import Policy
from wishcraft.errors import CacheUnavailable

SHOP = 7
SESSION = SessionName(SHOP, "a")


class World(NamedTuple):
    """Two primaries with one password, and the name in REDIS_URL, which leads to the old one."""

    old: Redis
    new: Redis
    name: FailingProxy
    server: Server

    async def demote(self) -> None:
        options = self.new.connection_pool.connection_kwargs
        await self.old.config_set("masterauth", options["password"])
        await self.old.replicaof("127.0.0.1", options["port"])

    def lead_to_new(self) -> None:
        self.name.lead_to(self.new.connection_pool.connection_kwargs["port"])


@asynccontextmanager
async def open_world(own_valkey: OwnValkey, folder: Path, *, with_breaker: bool) -> AsyncIterator[World]:
    other, address = OwnValkey(folder), urlsplit(own_valkey.url)
    async with Redis.from_url(own_valkey.url) as old, Redis.from_url(other.url) as new:
        await new.config_set("requirepass", address.password or "")
        new.connection_pool.connection_kwargs["password"] = address.password
        with FailingProxy(address.port or 0) as name:
            url = own_valkey.url.replace(f":{address.port}", f":{name.port}")
            server = connect(url, timeout=PATIENCE_SECONDS, with_breaker=with_breaker)
            try:
                yield World(old, new, name, server)
            finally:
                await server.close()
                other.kill()


async def invalidate(server: Server) -> None:
    await RegistryCache(server).invalidate(SHOP, {"smith": 2})


async def put_session(server: Server) -> None:
    await SessionCache(server).put(SESSION, "smith", datetime.now(UTC) + timedelta(minutes=1))


async def share_counts(server: Server) -> None:
    limiter = Limiter(server)
    limiter.take(Policy("visitor", 10, 60), "a")
    await limiter.share()


async def read_both(server: Server) -> tuple[bytes | None, str | None]:
    return await server.batched_reader.get("k"), await SessionCache(server).get(SESSION)


@pytest.mark.parametrize("with_breaker", [True, False])
@pytest.mark.parametrize("write", [invalidate, put_session, share_counts, Server.learn_era])
async def test_no_connection_to_a_demoted_primary_is_used_any_more(
    own_valkey: OwnValkey,
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[[Server], Awaitable[object]],
    with_breaker: bool,
) -> None:
    async with open_world(own_valkey, tmp_path_factory.mktemp("other"), with_breaker=with_breaker) as world:
        server = world.server
        await invalidate(server)
        assert await read_both(server) == (None, None)
        era = server.era
        await world.demote()
        world.lead_to_new()
        with pytest.raises(CacheUnavailable, match=r"(?i)read.?only"):
            await write(server)
        await world.new.set("k", "new", ex=60)
        await invalidate(server)
        assert await read_both(server) == (b"new", None)
        assert server.era != era
        assert len(await world.old.client_list("normal")) == 1


async def test_redis_is_not_used_while_its_name_leads_to_a_replica(
    own_valkey: OwnValkey, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with open_world(own_valkey, tmp_path_factory.mktemp("other"), with_breaker=True) as world:
        server, breaker = world.server, world.server.breaker
        assert breaker
        await invalidate(server)
        await world.demote()
        for reason in ("READONLY", "leads to a replica", "a moment ago"):
            with pytest.raises(CacheUnavailable, match=reason):
                await invalidate(server)
        with pytest.raises(CacheUnavailable):
            await server.batched_reader.get("k")
        world.lead_to_new()
        await wait_until(lambda: not breaker.is_open)
        await invalidate(server)
        assert await world.new.hexists(keys.of_shop(SHOP).floors, "smith")
