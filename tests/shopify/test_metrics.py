"""The metrics of Shopify requests agree with Shopify's own counts."""

from collections import defaultdict

from tests.support.shopify_world import SHOP, World
from wishcraft.shopify.variants import read_variants


async def test_requests_points_and_throttles_are_counted_by_shop(world: World) -> None:
    counts = defaultdict[str, float](float)

    def count(name: str, by: float = 1, **labels: str) -> None:
        assert labels == {"shop": SHOP}
        counts[name] += by

    client = world.another_client(count=count)
    world.shop.bucket.drain()
    await read_variants(client, SHOP, world.ids(10))
    simulated = world.shop.counters
    assert counts == {
        "shopify_requests_total": simulated.requests,
        "shopify_throttled_total": simulated.throttled,
        "shopify_points_total": simulated.points_spent,
        "shopify_waited_seconds_total": client.seconds_waited[SHOP],
    }
    assert counts["shopify_waited_seconds_total"] > 0
    assert simulated.throttled > 0
    assert simulated.points_spent > 0
