"""FastAPI over PostgreSQL, with no cache."""

from typing import Final

from fastapi import FastAPI, Response

from benchmarks.peers.guests import VerifiedShop
from benchmarks.peers.origin import load

app: Final = FastAPI()


@app.get("/api/registries/{slug}")
async def read(slug: str, shop: VerifiedShop) -> Response:
    """One registry."""
    return Response(await load(shop, slug), media_type="application/json")
