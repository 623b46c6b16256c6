"""An empty inbox, and a table for the effects of webhooks."""

from collections.abc import AsyncIterator

import pytest

from tests.support.aliases import Demo
from wishcraft.resources import Resources


@pytest.fixture
async def effects(demo: Demo, resources: Resources) -> AsyncIterator[None]:
    demo.execute("TRUNCATE webhook_events; CREATE TABLE effects (id bigint)")
    await resources.redis.learn_era()
    yield
    demo.execute("DROP TABLE effects; TRUNCATE webhook_events")
