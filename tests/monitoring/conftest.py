"""A healthy API for tests to break, and a Prometheus that scrapes it on a simulated clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from psycopg import Connection

from api.app import create_app, create_service
from api.state import AppState
from deployments.sandbox.demo import add_key
from tests.cache.conftest import OwnValkey
from tests.support.alert_rules import firing
from tests.support.api_client import app_state_of
from tests.support.metric_samples import Samples
from tests.support.prefect_stand_in import PrefectStandIn
from wishcraft.settings import Settings

Demo = Connection[tuple[Any, ...]]
REPLICAS = ("one", "two")


class Watched:
    """The API, and the samples of a Prometheus that sees it as two processes with the same metrics."""

    def __init__(self, client: httpx.AsyncClient, key: dict[str, str]) -> None:
        self.client = client
        self.app_state: AppState = app_state_of(client)
        self.now = time.time()
        self._key = key
        self._samples = Samples()

    async def scrape(self, after: float = 15) -> dict[str, list[dict[str, str]]]:
        """Scrape `after` seconds after the last time; return the firing alerts with their labels."""
        await self.app_state.traffic_recorder.flush()
        self.app_state.health_monitor._health.value = None  # probe anew
        self.app_state.health_monitor._schedule.value = None
        page = (await self.client.get("/metrics")).text
        return self.scraped(dict.fromkeys(REPLICAS, page), after)

    def scraped(self, pages: dict[str, str | None], after: float = 15) -> dict[str, list[dict[str, str]]]:
        """The same with the given page of each process."""
        self.now += after
        for replica, page in pages.items():
            self._samples.scrape(page, self.now, replica)
        return firing(self._samples, self.now)

    async def read(self, slugs: list[str], times: int) -> set[int]:
        """Read these registries in turn, `times` in all; return the statuses."""
        paths = [f"/api/registries/{slugs[number % len(slugs)]}" for number in range(times)]
        answers = [await self.client.get(path, headers=self._key) for path in paths]
        return {answer.status_code for answer in answers}

    async def list_registries(self, times: int) -> set[int]:
        """Send concurrent requests that need PostgreSQL; return the statuses."""
        asked = [self.client.get("/api/registries", headers=self._key) for _ in range(times)]
        return {answer.status_code for answer in await asyncio.gather(*asked)}

    async def count(self, name: str, **labels: str) -> None:
        """Increment a counter as a job does, in another process."""
        self.app_state.resources.counters.count(name, 1, **labels)
        await self.app_state.resources.counters.flush()

    async def tell(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge as a job does."""
        self.app_state.resources.counters.set(name, value, **labels)
        await self.app_state.resources.counters.flush()


@pytest.fixture
def well(
    settings: Settings, own_valkey: OwnValkey, prefect_settings: dict[str, object], mail_settings: dict[str, object]
) -> Settings:
    """Settings with which everything is healthy."""
    return settings.model_copy(update={"redis_url": own_valkey.url} | prefect_settings | mail_settings)


@asynccontextmanager
async def watching(settings: Settings, demo: Demo) -> AsyncIterator[Watched]:
    """An API with these settings."""
    app = create_app(settings)
    transport = httpx.ASGITransport(create_service(app), raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        watched = Watched(client, {"X-API-Key": add_key(demo, 1).key})
        watched.app_state.resources.cache._hold_seconds = 0
        yield watched


@pytest.fixture
async def watched(well: Settings, demo: Demo, prefect: PrefectStandIn) -> AsyncIterator[Watched]:
    """The API after a first scrape without alerts."""
    assert prefect.upcoming
    async with watching(well, demo) as watched:
        assert await watched.scrape() == {}
        yield watched


@pytest.fixture
def slugs(demo: Demo) -> list[str]:
    """Public registries of the shop."""
    query = "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active' ORDER BY id"
    return [slug for (slug,) in demo.execute(query)]
