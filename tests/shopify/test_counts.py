"""What asking Shopify costs is counted by shop, as Shopify itself counts it."""

from collections import Counter

from tests.shopify.conftest import SHOP, World
from wishcraft.shopify.variants import read_variants


async def test_requests_points_and_throttles_are_counted(world: World) -> None:
    counted = Counter[str]()

    def count(name: str, by: float = 1, **labels: str) -> None:
        assert labels == {"shop": SHOP}
        counted[name] += int(by)

    client = world.another_client(count=count)
    world.shop.bucket.drain()
    await read_variants(client, SHOP, world.ids(10))
    told = world.shop.counters
    assert counted == {
        "shopify_requests_total": told.requests,
        "shopify_throttled_total": told.throttled,
        "shopify_points_total": told.points_spent,
    }
    assert told.throttled > 0
    assert told.points_spent > 0
