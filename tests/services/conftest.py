"""Shops of the demo data, and a count of the queries that the core makes."""

from collections.abc import Iterator

import pytest
from sqlalchemy import event

from wishcraft.resources import Resources
from wishcraft.store import shops
from wishcraft.store.shops import ShopRef


@pytest.fixture
async def shop(resources: Resources) -> ShopRef:
    """One of the demo shops."""
    async with resources.db.snapshot() as session:
        return (await shops.find_active(session, ["maple-and-pine.myshopify.com"]))[0]


@pytest.fixture
def queries(resources: Resources) -> Iterator[list[str]]:
    """Every statement that goes to PostgreSQL from here on, in order."""
    statements: list[str] = []

    def note(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    engine = resources.db.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)
