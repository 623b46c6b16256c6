"""Shops of the demo data and tables for others, and a count of the queries that the core makes."""

from collections.abc import Iterator
from datetime import date

import psycopg
import pytest
from sqlalchemy import event

from deployments.sandbox.demo import seed
from tests.services.by_sql import Tables
from wishcraft.resources import Resources, open_analysts_database
from wishcraft.services import analysing
from wishcraft.settings import Settings
from wishcraft.store import shops
from wishcraft.store.analysts import AnalystsDatabase
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


@pytest.fixture
def analysts(settings: Settings) -> Iterator[AnalystsDatabase]:
    """The database as reports read it."""
    with open_analysts_database(settings.database_replica_url) as opened:
        yield opened


@pytest.fixture
def tables(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tables]:
    """The tables themselves, to fill; reports read them in chunks of two registries."""
    monkeypatch.setattr(analysing, "REGISTRIES_AT_ONCE", 2)
    with psycopg.connect(settings.database_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection
        connection.execute("TRUNCATE shops CASCADE")


@pytest.fixture
def many(settings: Settings, demo: Tables, monkeypatch: pytest.MonkeyPatch) -> Tables:
    """The tables with so many demo registries, and their reminders, that averages tell something."""
    monkeypatch.setattr(analysing, "REGISTRIES_AT_ONCE", 40)
    demo.execute("TRUNCATE shops CASCADE")
    seed(settings, 360, 7, date(2026, 3, 14))
    return demo
