"""A registry to write."""

import pytest

from tests.support.aliases import Demo
from tests.support.registry_writes import Registry, of_shop
from wishcraft.store.shops import ShopRef


@pytest.fixture
def registry(demo: Demo, shop: ShopRef) -> Registry:
    """The shop's first registry."""
    return of_shop(demo, shop)[0]
