"""Residual data: what the stores still have of a person or shop, by names and ids."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

from psycopg.sql import SQL, Identifier
from redis.asyncio import Redis

from tests.support.aliases import Demo
from wishcraft.store.schema import Base

_READ: Final = {
    b"string": lambda redis, key: redis.get(key),
    b"hash": lambda redis, key: redis.hgetall(key),
    b"zset": lambda redis, key: redis.zrange(key, 0, -1),
    b"set": lambda redis, key: redis.smembers(key),
    b"stream": lambda redis, key: redis.xrange(key),
    b"list": lambda redis, key: redis.lrange(key, 0, -1),
}


async def traces_in_redis(redis: Redis, *names: object) -> list[str]:
    """The keys of Redis that have one of these in their name or in their value, in any spelling."""
    needles = [str(name).lower().encode() for name in names]
    return [key async for key, content in _contents(redis) if any(needle in content.lower() for needle in needles)]


async def _contents(redis: Redis) -> AsyncIterator[tuple[str, bytes]]:
    async for key in redis.scan_iter():
        value = await cast("Any", _READ)[await redis.type(key)](redis, key)
        if isinstance(value, Mapping):
            value = [*value.keys(), *value.values()]
        parts = value if isinstance(value, list | set) else [value or b""]
        yield (
            key.decode(),
            b"\n".join([key, *(each if isinstance(each, bytes) else repr(each).encode() for each in parts)]),
        )


def patterns_of(*names: object) -> list[str]:
    """Patterns of LIKE for these, in any spelling, also as bytes or escaped as in JSON."""
    spelled = {each for name in map(str, names) for each in (name, name.lower(), name.upper(), name.title())}
    return [f"%{each}%" for name in spelled for each in (name, json.dumps(name)[1:-1], name.encode().hex())]


def traces_in_postgresql(demo: Demo, *names: object) -> set[str]:
    """The tables with a row that has one of these in a column, in any spelling, also as bytes or escaped as in JSON."""
    patterns, found = patterns_of(*names), set()
    for table in Base.metadata.sorted_tables:
        query = SQL("SELECT count(*) FROM {} t WHERE to_jsonb(t)::text ILIKE ANY(%s)").format(Identifier(table.name))
        if demo.execute(query, [patterns]).fetchone() != (0,):
            found.add(table.name)
    return found
