"""The simulator beside an app in the same process: its orders, webhooks and browsers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import httpx
import orjson

from deployments.sandbox.shopify.app import create_app
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Options, Simulator
from deployments.sandbox.shopify.webhooks import Habits
from tests.support.api import SHOP
from wishcraft.resources import Resources
from wishcraft.services.webhooks.consume import Consumer
from wishcraft.services.webhooks.handlers import HANDLERS

PROMPT: Final = Habits(delayed=0, repeated=0)
"""Webhooks come once, at once and in order."""


class LivingShop:
    """A simulator, one of its shops, and clients of both."""

    def __init__(self, http: httpx.AsyncClient, simulator: Simulator) -> None:
        self.http = http
        self.simulator = simulator

    @property
    def shop(self) -> SimulatedShop:
        return self.simulator.shops[SHOP]

    async def call(self, method: str, path: str, body: object = None) -> Any:
        answer = await self.http.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def order(self, *lines: dict[str, Any], **values: object) -> Any:
        """Order; the payload of the order."""
        return await self.call("POST", f"/{SHOP}/orders", {"lines": lines, **values})

    async def change(self, order: dict[str, Any], action: str, **values: object) -> Any:
        return await self.call("POST", f"/{SHOP}/orders/{order['id']}/{action}", values or None)


class App:
    """An app that notes the webhooks that it gets."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200)

    def payloads(self, topic: str) -> list[Any]:
        """In the order of the events."""
        sent = sorted(self.requests, key=lambda each: each.headers["X-Shopify-Triggered-At"])
        return [orjson.loads(each.content) for each in sent if each.headers["X-Shopify-Topic"] == topic]


@asynccontextmanager
async def living_shop(
    app: httpx.AsyncBaseTransport | None, options: Options | None = None
) -> AsyncIterator[LivingShop]:
    """A simulator whose webhooks and browsers go to this app."""
    url = None if app is None else "http://app.example"
    given = options or Options(habits=PROMPT)
    simulated = create_app(replace(given, app_url=url, app_transport=app))
    transport = httpx.ASGITransport(simulated, client=("203.0.113.9", 4_000))
    async with (
        simulated.state.simulator.running(),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        yield LivingShop(http, simulated.state.simulator)


async def consume(resources: Resources) -> None:
    """Handle what is due in the inbox."""
    consumer = Consumer(resources, HANDLERS, "test")
    await consumer.sweep()
    while await consumer.take(timedelta(0)):
        await consumer.finish()
