"""Complaints pause a shop's mail, also during a run."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.aliases import Demo
from tests.support.invitations import confirm_everyone
from wishcraft.resources import Resources
from wishcraft.services.mail.send import BATCHES_BETWEEN_CHECKS, SENDS_AT_ONCE, send_in_batches
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store.shops import ShopRef

NOW = datetime(2026, 3, 14, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _due(demo: Demo, shop: ShopRef) -> None:
    """Reminders of all the shop's registries are due."""
    day = NOW.date() + timedelta(1)
    demo.execute("UPDATE registries SET event_date = %s, status = 'active' WHERE shop_id = %s", [day, shop.id])
    confirm_everyone(demo)


def complain(demo: Demo) -> None:
    """Store three mails that were complained about."""
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, outcome, outcome_at)
           SELECT shop_id, id, '7_days', '2020-01-01', n || '@example.com', 'sent', 'complained', now()
           FROM generate_series(1, 3) n, (SELECT shop_id, id FROM registries WHERE shop_id = 1 LIMIT 1) r"""
    )


async def test_few_complaints_among_many_mails_without_an_outcome_pause_no_shop(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef
) -> None:
    complain(demo)
    demo.execute(
        """INSERT INTO reminders (shop_id, registry_id, kind, event_date, recipient, state, claimed_at)
           SELECT shop_id, id, '7_days', '2020-01-02', n || '@example.com', 'sent', now()
           FROM generate_series(1, 1000) n, (SELECT shop_id, id FROM registries WHERE shop_id = 1 LIMIT 1) r"""
    )
    assert (await remind_shop(resources, settings, shop, now=NOW))["sent"] > 0


async def test_complaints_that_come_during_a_run_end_it(resources: Resources, demo: Demo, shop: ShopRef) -> None:
    before_the_check = SENDS_AT_ONCE * BATCHES_BETWEEN_CHECKS
    sent: list[int] = []

    async def checkpoint(done: int, _total: int) -> None:
        if done == SENDS_AT_ONCE:
            complain(demo)

    async def send(batch: Sequence[int]) -> None:
        sent.extend(batch)

    await send_in_batches(resources, shop, range(2 * before_the_check), checkpoint, send)
    assert sent == list(range(before_the_check))
