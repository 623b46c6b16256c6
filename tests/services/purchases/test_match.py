"""A person matches a line item while webhooks and others change it, its order and its item."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.support.aliases import Demo
from tests.support.waiting import wait_until
from tests.support.webhooks import apply, line, message, order
from wishcraft.errors import CacheUnavailable, QueryRefused
from wishcraft.resources import Resources, open_resources
from wishcraft.services.purchases.match import match
from wishcraft.services.purchases.webhooks import handle_orders
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
def item(demo: Demo) -> int:
    """An item without purchases, of an active registry of the shop."""
    demo.execute("DELETE FROM purchases; DELETE FROM orders; DELETE FROM unmatched_lines")
    demo.execute("UPDATE registry_items SET quantity_purchased = 0")
    [(item_id,)] = demo.execute(
        """SELECT i.id FROM registry_items i JOIN registries r ON r.id = i.registry_id
           WHERE i.shop_id = 1 AND r.status = 'active' AND i.status <> 'hidden' ORDER BY i.id LIMIT 1"""
    ).fetchall()
    return int(item_id)


@pytest.fixture
async def unmatched(resources: Resources, demo: Demo, shop: ShopRef, item: int) -> int:
    """Three pieces that name no item."""
    payload = order([line(1, 5, 3, str(uuid4()))])
    await apply(resources, shop, handle_orders, [message("orders/create", payload)])
    [(unmatched_id,)] = demo.execute("SELECT id FROM unmatched_lines").fetchall()
    return int(unmatched_id)


def counted(demo: Demo, item: int) -> tuple[Any, ...]:
    query = """SELECT i.quantity_purchased, coalesce(sum(p.quantity), 0) FROM registry_items i
               LEFT JOIN purchases p ON p.item_id = i.id WHERE i.id = %s GROUP BY i.id"""
    [row] = demo.execute(query, [item]).fetchall()
    return row


async def test_match_waits_for_a_webhook_of_the_order_and_takes_what_it_leaves(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, item: int, unmatched: int
) -> None:
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as webhook:
        webhook.execute("SELECT FROM orders FOR UPDATE")
        matching = asyncio.create_task(match(resources, shop, unmatched, item, {}))
        await wait_until(lambda: demo.execute(WAITS).fetchone() != (0,))
        webhook.execute("UPDATE unmatched_lines SET quantity = 1")
        webhook.commit()
        await matching
    assert counted(demo, item) == (1, 1)


@pytest.mark.parametrize(("wished", "bought"), [("2026-03-01", "2026-03-14"), ("2026-03-20", "2026-03-20")])
async def test_matched_purchase_and_its_visit_have_the_time_at_which_the_order_came(
    resources: Resources, demo: Demo, shop: ShopRef, item: int, unmatched: int, wished: str, bought: str
) -> None:
    demo.execute("DELETE FROM analytics_events; UPDATE unmatched_lines SET created_at = '2026-03-14 00:00Z'")
    demo.execute("UPDATE registry_items SET created_at = %s WHERE id = %s", [f"{wished} 00:00Z", item])
    await match(resources, shop, unmatched, item, {})
    moments = demo.execute("SELECT p.created_at, occurred_at FROM purchases p, analytics_events").fetchall()
    assert moments == [(datetime.fromisoformat(f"{bought}T00:00Z"),) * 2]


async def test_line_item_that_two_people_match_at_once_counts_for_one(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, item: int, unmatched: int
) -> None:
    async with open_resources(settings, redis_timeout=5) as other:
        results = await asyncio.gather(
            *(match(each, shop, unmatched, item, {}) for each in (resources, other)), return_exceptions=True
        )
    assert [type(each) for each in results if each] == [QueryRefused]
    assert counted(demo, item) == (3, 3)


async def test_item_that_is_removed_meanwhile_takes_no_line_item(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, item: int, unmatched: int
) -> None:
    with psycopg.connect(settings.database_url.replace("+psycopg", "")) as registrant:
        registrant.execute(
            "SELECT FROM registries WHERE id = (SELECT registry_id FROM registry_items WHERE id = %s) FOR UPDATE",
            [item],
        )
        matching = asyncio.create_task(match(resources, shop, unmatched, item, {}))
        await wait_until(lambda: demo.execute(WAITS).fetchone() != (0,))
        registrant.execute("DELETE FROM registry_items WHERE id = %s", [item])
        registrant.commit()
        with pytest.raises(QueryRefused, match="no item with this id"):
            await matching
    assert demo.execute("SELECT id FROM unmatched_lines").fetchall() == [(unmatched,)]


async def test_without_redis_nothing_is_matched(
    settings: Settings, demo: Demo, shop: ShopRef, item: int, unmatched: int
) -> None:
    unreachable = settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})
    async with open_resources(unreachable, redis_timeout=1) as resources:
        with pytest.raises(CacheUnavailable):
            await match(resources, shop, unmatched, item, {})
    assert counted(demo, item) == (0, 0)
    assert demo.execute("SELECT id FROM unmatched_lines").fetchall() == [(unmatched,)]
