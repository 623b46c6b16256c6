"""FastAPI with one Redis GET per request, forwarding the bytes."""

from typing import Final, cast

from fastapi import FastAPI, HTTPException, Response
from redis.asyncio import Redis

from benchmarks.peers.signature_check import VerifiedShop
from benchmarks.peers.stored_answers import TAG_SIZE, stored_key
from wishcraft.settings import settings

app: Final = FastAPI()
_redis: Final = Redis.from_url(settings().redis_url)


@app.get("/api/registries/{slug}")
async def read(slug: str, shop: VerifiedShop) -> Response:
    """Route: a registry's bytes from Redis."""
    stored = cast("bytes | None", await _redis.get(stored_key(shop, slug)))
    if stored is None:
        raise HTTPException(404)
    headers = {"ETag": f'"{stored[:TAG_SIZE].decode()}"'}
    return Response(stored[TAG_SIZE:], headers=headers, media_type="application/json")
