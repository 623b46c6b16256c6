"""FastAPI with fastapi-cache2's decorator on a route, as in its README."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi_cache import FastAPICache
from fastapi_cache.backends.redis import RedisBackend
from fastapi_cache.decorator import cache
from redis.asyncio import Redis

from benchmarks.peers.origin import load
from benchmarks.peers.signature_check import VerifiedShop
from wishcraft.settings import settings


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    FastAPICache.init(RedisBackend(Redis.from_url(settings().redis_url)), prefix="fastapi-cache")
    yield


app: Final = FastAPI(lifespan=_lifespan)


@app.get("/api/registries/{slug}")
@cache(expire=3600)
async def read(slug: str, shop: VerifiedShop) -> dict[str, Any]:
    """Route: a registry from the decorator's cache."""
    answer: dict[str, Any] = orjson.loads(await load(shop, slug))
    return answer
