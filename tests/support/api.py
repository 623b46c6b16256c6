"""Callers of the API, and the API in this process."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, cast
from urllib.parse import parse_qsl

import httpx
from fastapi import FastAPI

from api.app import create_app, create_service
from api.problems import register
from api.state import AppState
from benchmarks.web import open_client
from tests.support.aliases import Demo
from wishcraft.settings import Settings

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


class Shopper:
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


def app_state_of(client: httpx.AsyncClient) -> AppState:
    """The state of the client's API."""
    return cast("AppState", cast("Any", client)._transport.app.state.app_state)


async def _collect_nothing(_minute: datetime) -> None:
    """In the place of `SliRecorder.collect`."""


_idle_apps: dict[Settings, FastAPI] = {}


@asynccontextmanager
async def open_api_client(settings: Settings, *, records_minutes: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """An API with these settings, in this process, and a client of it. An idle application is used again.

    Without `records_minutes`, it writes no service level indicators, neither at the end of a minute nor of its life:
    it would probe its own health for them, for 10 ms.
    """
    app = _idle_apps.pop(settings, None) or create_app(settings)  # to build its routes takes 30 ms
    register(app)  # the handlers of errors know what an earlier test has reported
    app.middleware_stack = None
    async with app.router.lifespan_context(app), open_client(app) as client:
        if not records_minutes:
            app.state.app_state.sli_recorder.collect = _collect_nothing
        yield client
    _idle_apps[settings] = app
    if len(_idle_apps) > MAX_IDLE_APPS:
        del _idle_apps[next(iter(_idle_apps))]


@asynccontextmanager
async def called_from(client: httpx.AsyncClient, peer: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the same API that connects from this address."""
    service = create_service(cast("Any", client)._transport.app)
    transport = httpx.ASGITransport(service, raise_app_exceptions=False, client=(peer, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as other:
        yield other


def public_slug(demo: Demo) -> str:
    """The slug of a public, active registry of `SHOP`."""
    query = "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active' ORDER BY id"
    found = demo.execute(query).fetchone()
    assert found
    return str(found[0])
