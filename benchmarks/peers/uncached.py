"""FastAPI with PostgreSQL and no cache."""

from typing import Final

from fastapi import FastAPI, Response

from benchmarks.peers.origin import load
from benchmarks.peers.signature_check import VerifiedShop

app: Final = FastAPI()


@app.get("/api/registries/{slug}")
async def read(slug: str, shop: VerifiedShop) -> Response:
    """Route: a registry, queried from PostgreSQL."""
    return Response(await load(shop, slug), media_type="application/json")
