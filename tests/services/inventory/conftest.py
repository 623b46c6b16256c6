"""A wished-for variant in PostgreSQL and in the simulator."""

import pytest

from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from tests.support.wished_variants import Wished
from wishcraft.domain import inventory
from wishcraft.services.inventory import sync
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
    find = simulator.shops[shop.domain].inventory.find
    return [Wished(demo, item_id, slug, found) for item_id, slug, number in rows if (found := find(number))]


@pytest.fixture
def by_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs read ten variants at once."""
    monkeypatch.setattr(sync, "MAX_IDS", 10)


@pytest.fixture
def in_bulk(by_ten: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncs read all but ten variants in bulk."""
    monkeypatch.setattr(inventory, "WORTH_A_BULK_OPERATION_SECONDS", float("-inf"))


@pytest.fixture
def wished(wishes: list[Wished]) -> Wished:
    return wishes[0]
