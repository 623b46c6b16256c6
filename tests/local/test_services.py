"""What the start of the stack does with its services."""

import redis

from deployments.local.services import begin_era
from tests.support.valkey import OwnValkey
from wishcraft.cache import keys


async def test_redis_begins_its_era_before_the_processes_of_the_stack_start(own_valkey: OwnValkey) -> None:
    with redis.Redis.from_url(own_valkey.url) as client:
        assert not client.exists(keys.ERA)
        await begin_era(own_valkey.url)
        era = client.hgetall(keys.ERA)
        await begin_era(own_valkey.url)
        assert client.hgetall(keys.ERA) == era
