"""What the start of the stack does with its services."""

from urllib.parse import urlsplit

import pytest
import redis

from deployments.local.environment import create_databases
from deployments.local.services import begin_era, check_redis
from tests.support.valkey import OwnValkey
from wishcraft.cache import keys
from wishcraft.errors import ConfigurationError


async def test_redis_begins_its_era_before_the_processes_of_the_stack_start(own_valkey: OwnValkey) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        assert not client.exists(keys.ERA)
        await begin_era(own_valkey.url)
        era = client.hgetall(keys.ERA)
        await begin_era(own_valkey.url)
        assert client.hgetall(keys.ERA) == era


async def test_redis_of_the_environment_is_asked_before_the_stack_starts(own_valkey: OwnValkey) -> None:
    await check_redis(own_valkey.url, None)
    address = own_valkey.url.rpartition("@")[2]
    for url, password in ((f"redis://{address}", "wrong"), ("redis://127.0.0.1:1/0", None)):
        with pytest.raises(ConfigurationError, match=r"cannot use the server of REDIS_URL: .*; correct"):
            await check_redis(url, password)


def test_postgresql_of_the_environment_that_refuses_is_named_with_what_to_do(database_url: str) -> None:
    address = urlsplit(database_url).netloc.rpartition("@")[2]
    for server in ("postgresql://127.0.0.1:1/x", f"postgresql://nobody:hu%sh/[?@{address}/postgres"):
        refusal = r"cannot use the server of DATABASE_URL: .*; correct the URL, or"
        with pytest.raises(ConfigurationError, match=refusal) as refused:
            create_databases(server, ("wishcraft",))
        assert "hu" not in str(refused.value)
    with pytest.raises(ConfigurationError, match=r"permission denied to create database; create these .* by hand"):
        create_databases(database_url.replace("+psycopg", ""), ("missing_database",))
