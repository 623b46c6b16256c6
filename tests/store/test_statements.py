"""The statements that are compiled once: each fits the schema, and few round trips carry a write."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib import import_module
from itertools import product
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus
from sqlalchemy import event, text

from tests.support.aliases import Demo
from wishcraft import store
from wishcraft.domain.callers import EVERYTHING, Caller
from wishcraft.domain.registries import EventType, Visibility
from wishcraft.domain.registry_lists import ListSort
from wishcraft.errors import DatabaseUnavailable
from wishcraft.resources import Resources
from wishcraft.services.registries.items import change_item
from wishcraft.services.registries.lifecycle import Draft, create_registry
from wishcraft.services.registries.write import ChangeRequest
from wishcraft.store import registry_lists
from wishcraft.store.audit_log import Origin
from wishcraft.store.idempotency import IdempotencyKey
from wishcraft.store.statements import Statement

DRAFT = Draft(
    {
        "title": "Our day", "description": "", "event_type": EventType.WEDDING, "event_date": None,
        "event_location": None, "visibility": Visibility.PUBLIC, "customer_email": "ada@example.com",
        "customer_first_name": "Ada", "customer_last_name": "Novak", "co_registrants": [],
    }
)  # fmt: skip
CALLER = Caller(1, "key:test", 9_000_001, EVERYTHING)


def test_every_statement_can_be_prepared_on_the_migrated_schema(demo: Demo) -> None:
    modules = [import_module(each.name) for each in iter_modules(store.__path__, f"{store.__name__}.")]
    statements = [each for module in modules for each in vars(module).values() if isinstance(each, Statement)]
    assert len(statements) >= 20
    for sort, position, filters, words in product(
        ListSort, ("", "id", "key"), (frozenset[str](), frozenset({"event_type", "event_from", "event_to"})), (0, 2)
    ):
        if position != "key" or sort is not ListSort.NEWEST:
            statements += registry_lists._statements(registry_lists._Shape("public", sort, position, filters, words))
    for filters in (frozenset[str](), frozenset({"statuses"})):
        statements += registry_lists._statements(registry_lists._Shape("own", ListSort.NEWEST, "", filters, 0))
    for number, statement in enumerate(statements):
        result = demo.pgconn.prepare(b"test_%d" % number, statement.sql)
        assert result.status == ExecStatus.COMMAND_OK, (statement.sql, result.error_message)


@pytest.fixture
def round_trips(resources: Resources, tmp_path: Path) -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[int]]:
    """Counts the Sync messages that the pool's connections send: PostgreSQL answers after each."""

    async def count(work: Callable[[], Awaitable[Any]]) -> int:
        path = tmp_path / "trace"
        with path.open("w") as file:

            def trace(connection: Any, *_: object) -> None:
                connection.driver_connection.pgconn.trace(file.fileno())

            def untrace(connection: Any, *_: object) -> None:
                connection.driver_connection.pgconn.untrace()

            engine = resources.db.engine.sync_engine
            event.listen(engine, "checkout", trace)
            event.listen(engine, "checkin", untrace)
            await work()
            event.remove(engine, "checkout", trace)
            event.remove(engine, "checkin", untrace)
        return sum("\tSync" in line for line in path.read_text().splitlines())

    return count


async def test_creation_and_item_change_take_three_round_trips_each(
    resources: Resources, demo: Demo, round_trips: Callable[[Callable[[], Awaitable[Any]]], Awaitable[int]]
) -> None:
    numbers = iter(range(10))
    [(slug, owner, item)] = demo.execute(
        """SELECT r.slug, r.customer_id, i.id FROM registries r JOIN registry_items i ON i.registry_id = r.id
        WHERE r.shop_id = 1 AND i.status <> 'hidden' LIMIT 1"""
    ).fetchall()

    async def create() -> None:
        key = IdempotencyKey(1, "test", f"key-{next(numbers)}", b"digest")
        _, entry = await create_registry(resources, CALLER, DRAFT, key=key, origin=Origin())
        assert entry
        assert b'"email":"ada@example.com"' in entry.body

    async def change() -> None:
        request = ChangeRequest(replace(CALLER, customer_id=owner), slug, "item.changed")
        assert await change_item(resources, request, item, {"notes": f"note {next(numbers)}"})

    for work in (create, change):
        await work()  # prepares its statements
        assert await round_trips(work) == 3


@pytest.mark.parametrize("read", ["SELECT 1 / CAST(0 AS int)", "SELECT date 'infinity'"])
async def test_commit_whose_reads_fail_is_committed(resources: Resources, demo: Demo, read: str) -> None:
    rename = Statement(text("UPDATE shops SET name = :name WHERE id = 1"))
    async with resources.db.write([rename(name="Committed")]) as transaction:
        assert await transaction.driver.commit([Statement(text(read))()]) is None
    assert demo.execute("SELECT name FROM shops WHERE id = 1").fetchall() == [("Committed",)]


async def test_transaction_in_which_a_statement_failed_cannot_be_committed(resources: Resources, demo: Demo) -> None:
    rename = Statement(text("UPDATE shops SET name = :name WHERE id = 1"))
    fail = Statement(text("SELECT 1 / CAST(:zero AS int)"))
    with pytest.raises(DatabaseUnavailable, match="rolled back"):  # noqa: PT012  as a writer that goes on
        async with resources.db.write([rename(name="Lost")]) as transaction:
            with pytest.raises(psycopg.DataError):
                await transaction.driver.run([fail(zero=0)])
            await transaction.driver.commit([])
    assert demo.execute("SELECT name FROM shops WHERE id = 1").fetchall() != [("Lost",)]
