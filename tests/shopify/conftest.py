"""The Shopify client against the simulator in this process."""

from collections.abc import AsyncIterator

import httpx
import pytest

from deployments.sandbox.shopify.app import create_app
from deployments.sandbox.shopify.simulator import Options
from tests.support.shopify_world import FakeClock, World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock = FakeClock()
    app = create_app(Options(products=150, clock=clock))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        yield World(http, app.state.simulator, clock)
