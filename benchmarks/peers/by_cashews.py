"""FastAPI with cashews' decorator on a route, as in its documentation."""

from typing import Any, Final

import orjson
from cashews import cache
from fastapi import FastAPI

from benchmarks.peers.origin import load
from benchmarks.peers.signature_check import VerifiedShop
from wishcraft.settings import settings

app: Final = FastAPI()
cache.setup(settings().redis_url)


@app.get("/api/registries/{slug}")
@cache(ttl="1h", key="registry:{shop}:{slug}")
async def read(slug: str, shop: VerifiedShop) -> dict[str, Any]:
    """Route: a registry from the decorator's cache."""
    answer: dict[str, Any] = orjson.loads(await load(shop, slug))
    return answer
