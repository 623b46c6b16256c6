"""An API in this process, and a Prometheus that scrapes it on a simulated clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from api.state import AppState
from deployments.sandbox.demo import add_key
from tests.support.alert_rules import firing
from tests.support.aliases import Demo
from tests.support.api import app_state_of, open_api_client
from tests.support.metric_samples import Samples
from tests.support.waiting import PATIENCE_SECONDS
from wishcraft.services.webhooks.inbox import InboxLimits
from wishcraft.settings import Settings

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
        self.app_state.health_monitor._health.value = None  # probe again
        self.app_state.health_monitor._schedule._expires_at = 0.0
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
        paths = [f"/api/registries?limit={number % 100 + 1}" for number in range(times)]  # pages that no request shares
        requests = [self.client.get(path, headers=self._key) for path in paths]
        return {answer.status_code for answer in await asyncio.gather(*requests)}

    async def count(self, name: str, **labels: str) -> None:
        """Increment a counter as a job does, in another process."""
        self.app_state.resources.counters.count(name, 1, **labels)
        await self.app_state.resources.counters.flush()

    async def set_gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge as a job does."""
        self.app_state.resources.counters.set(name, value, **labels)
        await self.app_state.resources.counters.flush()


@asynccontextmanager
async def watching(settings: Settings, demo: Demo) -> AsyncIterator[Watched]:
    """An API with these settings."""
    async with open_api_client(settings) as client:
        watched = Watched(client, {"X-API-Key": add_key(demo, 1).key})
        watched.app_state.resources.cache._hold_seconds = 0
        watched.app_state.inbox.limits = InboxLimits(answer_seconds=PATIENCE_SECONDS)
        # The jobs are known from here on: their counters begin at 0, where a page is not faster than its health probe.
        await client.get("/health")
        yield watched
