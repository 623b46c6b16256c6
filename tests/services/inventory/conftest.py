"""A wished-for variant in PostgreSQL and in the simulator."""

import pytest

from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.wished_variants import Wished
from wishcraft.store.shops import ShopRef


@pytest.fixture
def wishes(demo: Demo, shop: ShopRef, simulator: Simulator) -> list[Wished]:
    """Wished-for variants of different products."""
    rows = demo.execute(
        """SELECT DISTINCT ON (i.product_id) i.id, r.slug, i.variant_id
           FROM registry_items i JOIN registries r ON r.id = i.registry_id
           WHERE r.shop_id = %s AND r.status = 'active' AND i.tracked AND i.available AND i.status = 'active'
               AND i.inventory_policy = 'deny'
           ORDER BY i.product_id, i.id""",
        [shop.id],
    ).fetchall()
    inventory = simulator.shops[shop.domain].inventory
    return [Wished(demo, item_id, slug, found) for item_id, slug, number in rows if (found := inventory.find(number))]


@pytest.fixture
def wished(wishes: list[Wished]) -> Wished:
    return wishes[0]
