"""Generous limits of time, except where a test is about them; a registry, and variants to add to it."""

from typing import Final

import pytest

from deployments.sandbox.shopify.inventory import Variant
from deployments.sandbox.shopify.shop import SimulatedShop
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.api import SHOP, Shopper

ABOUT_LIMITS: Final = {
    "test_deadline.py",
    "test_hanging_postgresql_does_not_hide_the_other_parts",
    "test_hanging_postgresql_leaves_what_redis_holds_readable",
    "test_health_shows_redis_down_or_hanging_and_its_recovery",
    "test_time_spent_on_the_fast_path_counts_for_the_route",
}
"""Modules and tests in which stores hang or are stopped."""


@pytest.fixture(autouse=True)
def _generous_limits(request: pytest.FixtureRequest) -> None:
    if not ABOUT_LIMITS & {request.path.name, request.function.__name__}:
        hangs = request.path.name == "test_outages.py"
        request.getfixturevalue("generous_limits_of_redis" if hangs else "generous_limits")


@pytest.fixture
def shopify(simulator: Simulator) -> SimulatedShop:
    """The shop in the Shopify simulator."""
    return simulator.shops[SHOP]


@pytest.fixture
def variants(shopify: SimulatedShop) -> list[Variant]:
    """One variant of each product of the shop."""
    found = [shopify.inventory.find(number) for number in shopify.inventory.variant_ids()]
    return list({variant.product_id: variant for variant in found if variant}.values())


@pytest.fixture
async def slug(emma: Shopper) -> str:
    """A registry of Emma's, without items."""
    return await emma.create()
