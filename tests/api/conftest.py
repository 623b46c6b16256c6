"""The API over the demo shops, in this process, and callers of each kind."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from psycopg import Connection

from api.app import create_app
from deployments.sandbox.demo import add_key
from wishcraft.settings import Settings
from wishcraft.shopify.signatures import canonical, sign

SHOP = "maple-and-pine.myshopify.com"


@pytest.fixture
def serving() -> Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Opens a client of an API with the settings that it is given."""
    return _serving


@asynccontextmanager
async def _serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        yield client


@pytest.fixture
async def client(settings: Settings, demo: Connection[tuple[Any, ...]]) -> AsyncIterator[httpx.AsyncClient]:
    """A client that shows nothing of its own."""
    assert not demo.closed
    async with _serving(settings) as client:
        yield client


@pytest.fixture
def key(demo: Connection[tuple[Any, ...]]) -> dict[str, str]:
    """The headers of a server of `SHOP`."""
    return {"X-API-Key": add_key(demo, 1).key}


@pytest.fixture
def signed(settings: Settings) -> Callable[..., str]:
    """Makes query strings as Shopify's app proxy signs them."""
    secret = settings.shopify_api_secret.get_secret_value()

    def query(shop: str = SHOP, customer_id: int | None = None, at: float | None = None) -> str:
        fields = [
            ("shop", shop),
            ("logged_in_customer_id", str(customer_id or "")),
            ("path_prefix", "/apps/registry"),
            ("timestamp", str(int(at or time.time()))),
        ]
        return urlencode([*fields, ("signature", sign(canonical(fields), secret))])

    return query
