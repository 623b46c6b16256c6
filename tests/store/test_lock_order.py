"""Statements that lock several registries, or lines of orders, take the locks in the order of the ids."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from tests.support.aliases import Demo
from tests.support.waiting import WAITING, wait_until
from wishcraft.domain.analytics_events import AnalyticsType
from wishcraft.domain.people import Person
from wishcraft.domain.registries import PurchaseStatus
from wishcraft.domain.reminders import ReminderKind
from wishcraft.resources import Resources
from wishcraft.settings import Settings
from wishcraft.store import analytics_events, customers, people, purchases, reminders
from wishcraft.store.analytics_events import Event
from wishcraft.store.purchases import LineChange
from wishcraft.store.registries import WriteSession
from wishcraft.store.reminders import ReminderRows

Registries = list[tuple[int, str]]
"""Ids and slugs of a shop's registries."""
BUYER = 7_500_000_000_001


async def add_events(session: AsyncSession, registries: Registries) -> None:
    now = datetime.now(UTC)
    events = [Event(1, slug, AnalyticsType.REGISTRY_VIEWED, now, "v", None) for _, slug in registries]
    await analytics_events.add_events(session, events)


async def add_views(session: AsyncSession, registries: Registries) -> None:
    await analytics_events.add_views(session, {1: {slug: 1 for _, slug in registries}})


async def plan_reminders(session: AsyncSession, registries: Registries) -> None:
    rows = ReminderRows([], [], [], [])
    for registry_id, _ in registries:
        rows.add(registry_id, date(2026, 3, 14), ReminderKind.WEEK, "emma@example.com")
    await reminders.plan(session, 1, rows, "mail.example.com")


@pytest.mark.parametrize("add", [add_events, add_views, plan_reminders])
async def test_rows_of_many_registries_lock_them_in_the_order_of_their_ids(
    resources: Resources, settings: Settings, demo: Demo, add: Callable[[AsyncSession, Registries], Awaitable[None]]
) -> None:
    """While the first registry is locked, the statement has locked none of the others."""
    rows = demo.execute("SELECT id, slug FROM registries WHERE shop_id = 1 ORDER BY id DESC").fetchall()
    registries: Registries = [(number, slug) for number, slug in rows]
    first = registries[-1][0]
    demo.execute("UPDATE registries SET version = version WHERE id = %s", [first])  # the last one in the table's file

    async def write() -> None:
        async with resources.db.transaction() as session:
            await add(session, registries)

    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as writer:
        writer.execute("SELECT FROM registries WHERE id = %s FOR UPDATE", [first])
        writing = asyncio.create_task(write())
        await wait_until(lambda: writing.done() or demo.execute(WAITING).fetchone() != (0,))
        assert not writing.done()
        free = demo.execute("SELECT id FROM registries WHERE shop_id = 1 FOR UPDATE SKIP LOCKED").fetchall()
        writer.rollback()
    await writing
    assert len(free) == len(registries) - 1 > 1


async def merge_buyer(session: WriteSession, _lines: list[int]) -> None:
    await customers.keep(session, 1, BUYER, BUYER + 1)


async def erase_buyer(session: WriteSession, _lines: list[int]) -> None:
    person = Person(frozenset({BUYER}), frozenset(), frozenset())
    await people.erase(session, 1, person, datetime.now(UTC))


async def refund_lines(session: WriteSession, lines: list[int]) -> None:
    await purchases.change(session, 1, [LineChange(each, 1, 1, PurchaseStatus.REFUNDED) for each in lines])


@pytest.mark.parametrize("table", ["purchases", "unmatched_lines"])
@pytest.mark.parametrize("change", [merge_buyer, erase_buyer, refund_lines])
async def test_lines_of_orders_are_locked_in_the_order_of_their_ids(
    resources: Resources, settings: Settings, demo: Demo, table: str,
    change: Callable[[WriteSession, list[int]], Awaitable[None]],
) -> None:  # fmt: skip
    """While the first line is locked, the statement has locked none of the others."""
    demo.execute("UPDATE purchases SET purchaser_id = %s, status = 'confirmed' WHERE shop_id = 1", [BUYER])
    demo.execute(
        """INSERT INTO unmatched_lines (shop_id, order_id, line_item_id, order_name, product_title, ordered, quantity,
               unit_price, status, claim, reason, purchaser_id, anonymous)
           SELECT 1, 5, n, '#5', 'Vase', 1, 1, 1, 'confirmed', '', '', %s, false FROM generate_series(1, 3) n""",
        [BUYER],
    )
    rows = demo.execute(f"SELECT id, line_item_id FROM {table} WHERE purchaser_id = {BUYER} ORDER BY id DESC")  # noqa: S608
    ids, lines = zip(*rows.fetchall(), strict=True)
    demo.execute(f"UPDATE {table} SET quantity = quantity WHERE id = %s", [ids[-1]])  # noqa: S608  it is the last one in the table's file

    async def write() -> None:
        async with resources.db.transaction() as session:
            await change(WriteSession(session), list(lines))

    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as writer:
        writer.execute(f"SELECT FROM {table} WHERE id = %s FOR UPDATE", [ids[-1]])
        writing = asyncio.create_task(write())
        await wait_until(lambda: writing.done() or demo.execute(WAITING).fetchone() != (0,))
        assert not writing.done()
        free = demo.execute(f"SELECT id FROM {table} WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED", [list(ids)])  # noqa: S608
        found = free.fetchall()
        writer.rollback()
    await writing
    assert len(found) == len(ids) - 1 > 1
