"""A healthy API for tests to break, and a Prometheus that scrapes it on a simulated clock."""

from collections.abc import AsyncIterator

import pytest

from tests.support.aliases import Demo
from tests.support.fake_prefect import FakePrefect
from tests.support.long_timeouts import give
from tests.support.valkey import OwnValkey
from tests.support.waiting import PATIENCE_SECONDS
from tests.support.watched_api import Watched, watching
from wishcraft.settings import Settings


@pytest.fixture(autouse=True)
def _generous_limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    request.getfixturevalue("generous_limits_of_redis")
    give("api.state.HealthMonitor", ["probe_seconds"], PATIENCE_SECONDS, monkeypatch.setattr)


@pytest.fixture
def healthy_settings(
    settings: Settings, own_valkey: OwnValkey, prefect_settings: dict[str, object], mail_settings: dict[str, object]
) -> Settings:
    """Settings with which everything is healthy."""
    return settings.model_copy(update={"redis_url": own_valkey.url} | prefect_settings | mail_settings)


@pytest.fixture
async def watched(healthy_settings: Settings, demo: Demo, prefect: FakePrefect) -> AsyncIterator[Watched]:
    """The API after a first scrape without alerts."""
    async with watching(healthy_settings, demo) as watched:
        assert await watched.scrape() == {}
        yield watched


@pytest.fixture
def slugs(demo: Demo) -> list[str]:
    """Public registries of the shop."""
    query = "SELECT slug FROM registries WHERE shop_id = 1 AND visibility = 'public' AND status = 'active' ORDER BY id"
    return [slug for (slug,) in demo.execute(query)]
