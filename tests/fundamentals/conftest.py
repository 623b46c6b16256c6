"""Fixtures of the tour: an item sold in a shop, and a registry that wishes for it."""

from decimal import Decimal

import pytest

from deployments.sandbox.shopify.inventory import Variant
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.api import SHOP, Shopper


@pytest.fixture(autouse=True)
def _generous_limits(request: pytest.FixtureRequest) -> None:
    hangs = "own_valkey" in request.fixturenames
    request.getfixturevalue("generous_limits_of_redis" if hangs else "generous_limits")


@pytest.fixture
def variant(simulator: Simulator) -> Variant:
    """A product variant that the shop sells in Shopify, for 20.00."""
    inventory = simulator.shops[SHOP].inventory
    found = inventory.find(inventory.variant_ids()[0])
    assert found
    found.price = Decimal(20)
    return found


@pytest.fixture
async def slug(emma: Shopper, variant: Variant) -> str:
    """The slug of a public registry of Emma's, whose only item is that variant."""
    slug = await emma.create()
    added = await emma.send("POST", f"/api/registries/{slug}/items", {"variant_id": variant.variant_id})
    assert added.status_code == 201, added.text
    return slug
