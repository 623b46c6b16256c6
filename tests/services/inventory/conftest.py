"""A wished-for variant in PostgreSQL and in the simulator."""

from dataclasses import dataclass
from typing import Any

import pytest

from deployments.sandbox.shopify.inventory import Variant
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from wishcraft.store.shops import ShopRef


@dataclass(frozen=True, slots=True)
class Wished:
    """A tracked variant in stock that active registries wish for, and one of its items."""

    demo: Demo
    item_id: int
    slug: str
    variant: Variant

    def row(self, columns: str) -> tuple[Any, ...]:
        """These columns of the item."""
        query = f"SELECT {columns} FROM registry_items WHERE id = %s"  # noqa: S608  the test's own columns
        found = self.demo.execute(query.encode(), [self.item_id]).fetchone()
        assert found
        return found

    def holders(self) -> set[str]:
        """The slugs of the active registries that wish for the variant."""
        query = """SELECT r.slug FROM registries r JOIN registry_items i ON i.registry_id = r.id
                   WHERE i.variant_id = %s AND r.status = 'active'"""
        return {slug for (slug,) in self.demo.execute(query, [self.variant.variant_id])}


def versions(demo: Demo) -> dict[str, int]:
    """The versions of all registries, by slug."""
    return dict(demo.execute("SELECT slug, version FROM registries").fetchall())


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
