"""Fixtures of the chaos tests."""

import pytest

from wishcraft.resources import Resources
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef


@pytest.fixture
async def shop(resources: Resources) -> ShopRef:
    """One of the demo shops."""
    async with resources.db.repeatable_read() as session:
        return (await shops.find_active(session, ["maple-and-pine.myshopify.com"]))[0]
