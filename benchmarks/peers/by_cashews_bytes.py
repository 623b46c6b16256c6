"""FastAPI with cashews' decorator on a function that returns bytes: its fastest use, without JSON."""

from typing import Final

from cashews import cache
from fastapi import FastAPI, Response

from benchmarks.peers import origin
from benchmarks.peers.signature_check import VerifiedShop
from wishcraft.settings import settings

app: Final = FastAPI()
cache.setup(settings().redis_url)


@app.get("/api/registries/{slug}")
async def read(slug: str, shop: VerifiedShop) -> Response:
    """Route: a registry's bytes from the decorator's cache."""
    return Response(await load(shop, slug), media_type="application/json")


@cache(ttl="1h", key="bytes:{shop}:{slug}")
async def load(shop: str, slug: str) -> bytes:
    """Response body of a registry; the decorator caches it."""
    return await origin.load(shop, slug)
