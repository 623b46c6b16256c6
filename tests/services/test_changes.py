"""Counts of what a job has changed before it fails or stops."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from deployments.sandbox.mailbox.messages import Fault, FaultKind, Mailbox
from deployments.sandbox.shopify.simulator import Simulator
from tests.support.aliases import Demo
from wishcraft.cache.entries import Entry
from wishcraft.cache.keys import SessionName
from wishcraft.domain.retention import Bounds, DataKind
from wishcraft.errors import CacheUnavailable, MailUnavailable, RunStopped
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes
from wishcraft.services.cleanup.expired import clean_orphans, clean_table
from wishcraft.services.inventory import sync
from wishcraft.services.operations import invariants
from wishcraft.services.registries import reader, warm
from wishcraft.services.reminders import send
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef


class StopAt:
    """A checkpoint that stops the run at its call of that number."""

    def __init__(self, call: int) -> None:
        self._left = call

    async def __call__(self, _done: int, _total: int) -> None:
        self._left -= 1
        if not self._left:
            raise RunStopped


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def settings(settings_with_mail: Settings) -> Settings:
    return settings_with_mail


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def one(demo: Demo, query: str) -> int:
    row = demo.execute(query.encode()).fetchone()
    assert row
    return int(row[0])


async def test_mails_sent_before_a_shop_fails_are_counted(
    resources: Resources,
    settings: Settings,
    shop: ShopRef,
    demo: Demo,
    mailbox: Mailbox,
    changes: Changes,
    now: datetime,
) -> None:
    demo.execute("UPDATE registries SET event_date = %s, status = 'active'", [now.date() + timedelta(5)])
    mailbox.faults.set(Fault(FaultKind.UNAVAILABLE, remaining=1))
    with pytest.raises(MailUnavailable):
        await send.remind_shop(resources, settings, shop, now=now, changes=changes)
    sent = one(demo, "SELECT count(*) FROM reminders WHERE state = 'sent'")
    assert changes["sent"] == changes["due"] == len(mailbox.messages) == sent > 0


async def test_items_changed_before_a_sync_stops_are_counted(
    resources: Resources, shop: ShopRef, demo: Demo, simulator: Simulator, changes: Changes, monkeypatch: Any
) -> None:
    for variant_id in (inventory := simulator.shops[shop.domain].inventory).variant_ids():
        variant = inventory.find_or_deleted(variant_id)
        assert variant
        variant.price = Decimal(12345)
    monkeypatch.setattr(sync, "MAX_IDS", 5)
    with pytest.raises(RunStopped):
        await sync.sync_shop(resources, shop, checkpoint=StopAt(3), changes=changes)
    assert changes["items_changed"] == one(demo, "SELECT count(*) FROM registry_items WHERE price = 12345") > 0
    touched = one(demo, "SELECT count(DISTINCT registry_id) FROM registry_items WHERE price = 12345")
    assert changes["registries_touched"] == touched


async def test_entries_filled_before_a_warm_stops_are_counted(
    resources: Resources, shop: ShopRef, changes: Changes
) -> None:
    with pytest.raises(RunStopped):
        await warm.warm_shop(resources, shop, checkpoint=StopAt(3), changes=changes, batch_size=1)
    assert changes == {"warmed": 2}


async def test_entries_filled_before_redis_fails_in_a_warm_are_counted(
    resources: Resources, shop: ShopRef, changes: Changes, monkeypatch: Any
) -> None:
    filled: list[str] = []

    async def refill_two(resources: Resources, shop_id: int, slugs: Sequence[str]) -> dict[str, Entry]:
        if len(filled) == 2:
            raise CacheUnavailable("Redis does not answer")
        filled.extend(slugs)
        return await reader.refill(resources, shop_id, slugs)

    monkeypatch.setattr(warm, "refill", refill_two)
    with pytest.raises(CacheUnavailable):
        await warm.warm_shop(resources, shop, force=True, changes=changes, batch_size=1)
    assert changes == {"warmed": 2}


async def test_purchases_repaired_before_a_check_stops_are_counted(
    resources: Resources, shop: ShopRef, demo: Demo, changes: Changes
) -> None:
    demo.execute(
        """UPDATE registry_items SET quantity_purchased = quantity_purchased + 1 WHERE id IN
           (SELECT min(i.id) FROM registry_items i JOIN registries r ON r.id = i.registry_id
            WHERE r.shop_id = %s GROUP BY r.id)""",
        [shop.id],
    )
    stop = StopAt(3)
    with pytest.raises(RunStopped):
        await invariants.check_shop(
            resources, shop, repair=True, sample=10, checkpoint=stop, changes=changes, batch_size=1
        )
    assert changes["purchases_repaired"] == 2


async def test_rows_deleted_before_a_cleanup_stops_are_counted(
    resources: Resources, demo: Demo, changes: Changes, now: datetime
) -> None:
    demo.execute(
        """INSERT INTO sessions (id, shop_id, kind, subject, expires_at)
           SELECT 's' || n, 1, 'guest_grant', 's', now() - interval '1 hour' FROM generate_series(1, 9) n"""
    )
    before = one(demo, "SELECT count(*) FROM sessions")
    bounds = Bounds(2, now + timedelta(minutes=10))
    with pytest.raises(RunStopped):
        await clean_table(resources, DataKind.SESSIONS, now, bounds, checkpoint=StopAt(3), changes=changes)
    assert changes == {"old": 4, "deleted": 4}
    assert one(demo, "SELECT count(*) FROM sessions") == before - 4


async def test_sessions_dropped_before_a_cleanup_stops_are_counted(
    resources: Resources, changes: Changes, now: datetime
) -> None:
    for number in range(200):
        await resources.sessions.put(SessionName(1, f"s{number}"), "s", now + timedelta(hours=1))
    bounds = Bounds(1, now + timedelta(minutes=10))
    with pytest.raises(RunStopped):
        await clean_orphans(resources, now, bounds, checkpoint=StopAt(2), changes=changes)
    left = sum([len(held) async for held in resources.sessions.batches(10)])
    assert changes["deleted"] == changes["old"] == 200 - left > 0
