"""The API over the demo shops, in this process, and callers of each kind."""

import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode

import httpx
import jwt
import pytest
from fastapi import FastAPI
from psycopg import Connection

from api.app import create_app, create_service
from api.state import AppState
from deployments.sandbox.demo import add_key
from tests.cache.conftest import OwnValkey
from wishcraft.settings import Settings
from wishcraft.shopify.signatures import canonical, sign

SHOP: Final = "maple-and-pine.myshopify.com"
WAYS: Final[tuple[dict[str, str], ...]] = ({}, {"Origin": "https://elsewhere.example"})
"""Headers of a read on the fast path, and of a read on the route."""
JSON: Final = {"content-type": "application/json"}
WEDDING: Final[dict[str, Any]] = {
    "title": "Emma & Hugo's Wedding",
    "event_type": "wedding",
    "event_date": "2027-06-12",
    "event_location": "The Orangery",
    "registrant": {"first_name": "Emma", "last_name": "Reed", "email": "emma.reed@example.com"},
    "co_registrants": [{"first_name": "Hugo", "last_name": "Laurent", "email": "hugo.laurent@example.com"}],
}
"""Body that creates a registry."""
MAX_IDLE_APPS: Final = 4


class Visitor:
    """A caller through the app proxy: a logged-in customer, or a guest."""

    def __init__(
        self, client: httpx.AsyncClient, signed: Callable[..., str], customer_id: int | None = None, shop: str = SHOP
    ) -> None:
        self.customer_id = customer_id
        self._client = client
        self._signed = signed
        self._shop = shop

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Call the API; `if_match="*"` sends the header `If-Match: *`, and bytes or their iterator go as they are."""
        path, _, query = path.partition("?")
        signed = self._signed(self._shop, self.customer_id, **dict(parse_qsl(query)))
        sent = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if body is None or isinstance(body, bytes | AsyncIterable) else json.dumps(body).encode()
        return await self._client.request(method, f"{path}?{signed}", content=content, headers=sent)

    async def read(self, slug: str, **headers: str) -> httpx.Response:
        """Read a registry."""
        return await self.send("GET", f"/api/registries/{slug}", **headers)

    async def create(self, **values: object) -> str:
        """Create a registry; its slug."""
        answer = await self.send("POST", "/api/registries", WEDDING | values)
        assert answer.status_code == 201, answer.text
        slug: str = answer.json()["slug"]
        return slug


def problem(answer: httpx.Response) -> tuple[int, str]:
    """Status and kind of the response's problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:wishcraft:problem:")


def public_slug(demo: Connection[tuple[Any, ...]]) -> str:
    """The slug of a registry of `SHOP` that every guest may read, and that the cache does not hold yet."""
    query = "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active' ORDER BY id"
    found = demo.execute(query).fetchone()
    assert found
    return str(found[0])


def app_state_of(client: httpx.AsyncClient) -> AppState:
    """The state of the client's API."""
    return cast("AppState", cast("Any", client)._transport.app._state.app_state)


@pytest.fixture
def open_client() -> Callable[[Settings], AbstractAsyncContextManager[httpx.AsyncClient]]:
    """Function that opens a client of an API with the given settings."""
    return _open_client


_idle_apps: dict[Settings, FastAPI] = {}


@asynccontextmanager
async def _open_client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = _idle_apps.pop(settings, None) or create_app(settings)  # to build its routes takes 30 ms
    app.state.draining = False
    transport = httpx.ASGITransport(create_service(app), raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        yield client
    _idle_apps[settings] = app
    if len(_idle_apps) > MAX_IDLE_APPS:
        del _idle_apps[next(iter(_idle_apps))]


@pytest.fixture
async def client(settings: Settings, demo: Connection[tuple[Any, ...]]) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials."""
    assert not demo.closed
    async with _open_client(settings) as client:
        yield client


@pytest.fixture
async def client_on_own_valkey(
    settings: Settings, demo: Connection[tuple[Any, ...]], own_valkey: OwnValkey
) -> AsyncIterator[httpx.AsyncClient]:
    """The same, of an API whose Redis the test can stop."""
    assert not demo.closed
    async with _open_client(settings.model_copy(update={"redis_url": own_valkey.url})) as client:
        app_state_of(client).resources.cache._hold_seconds = 0
        yield client


@pytest.fixture
def key(demo: Connection[tuple[Any, ...]]) -> dict[str, str]:
    """The headers of a server of `SHOP`."""
    return {"X-API-Key": add_key(demo, 1).key}


@pytest.fixture
def signed(settings: Settings) -> Callable[..., str]:
    """Makes query strings as Shopify's app proxy signs them."""
    secret = settings.shopify_api_secret.get_secret_value()

    def query(shop: str = SHOP, customer_id: int | None = None, at: float | None = None, **others: str) -> str:
        fields = [
            *others.items(),
            ("shop", shop),
            ("logged_in_customer_id", str(customer_id or "")),
            ("path_prefix", "/apps/registry"),
            ("timestamp", str(int(at or time.time()))),
        ]
        return urlencode([*fields, ("signature", sign(canonical(fields), secret))])

    return query


@pytest.fixture
def token(settings: Settings) -> Callable[..., dict[str, str]]:
    """Makes the headers of a merchant in the embedded admin; the secret must be as long as Shopify's."""

    def headers(secret: str | None = None, algorithm: str = "HS256", **claims: object) -> dict[str, str]:
        now = int(time.time())
        said = {
            "iss": f"https://{SHOP}/admin", "dest": f"https://{SHOP}", "aud": settings.shopify_api_key, "sub": "42",
            "iat": now, "nbf": now, "exp": now + 60, "jti": "1", "sid": "2",
        } | claims  # fmt: skip
        shown = jwt.encode(
            {name: value for name, value in said.items() if value is not None},
            "" if algorithm == "none" else secret or settings.shopify_api_secret.get_secret_value(),
            algorithm,
        )
        return {"Authorization": f"Bearer {shown}"}

    return headers


@pytest.fixture
def guest(client: httpx.AsyncClient, signed: Callable[..., str]) -> Visitor:
    """A guest of `SHOP`."""
    return Visitor(client, signed)


@pytest.fixture
def emma(client: httpx.AsyncClient, signed: Callable[..., str]) -> Visitor:
    """A customer of `SHOP` who has no registry yet."""
    return Visitor(client, signed, 7_100_000_000_001)


@pytest.fixture
def hugo(client: httpx.AsyncClient, signed: Callable[..., str]) -> Visitor:
    """Another customer of `SHOP`."""
    return Visitor(client, signed, 7_100_000_000_002)
