from collections.abc import Callable

import pytest

from tests.support.aliases import Demo, OpenClient
from tests.support.api import Shopper
from wishcraft.settings import Settings


@pytest.fixture
def records_minutes() -> bool:
    return True


async def test_requests_served_are_recorded_before_shutdown_ends(
    settings: Settings, demo: Demo, open_client: OpenClient, signed: Callable[..., str]
) -> None:
    demo.execute("TRUNCATE service_minutes")
    [(slug,)] = demo.execute("SELECT slug FROM registries WHERE visibility = 'public' ORDER BY id LIMIT 1").fetchall()
    async with open_client(settings) as client:
        for _ in range(3):  # by the route, then by the fast path
            assert (await Shopper(client, signed).read(slug)).status_code == 200
        assert (await client.get("/api/registries")).status_code == 401
        assert (await client.get("/health")).status_code == 200
    query = "SELECT bool_or(served), sum(requests), sum(errors), sum(hits), sum(misses) FROM service_minutes"
    assert demo.execute(query).fetchone() == (True, 4, 0, 2, 1)
