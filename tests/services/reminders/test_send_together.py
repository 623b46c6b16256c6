"""Concurrent runs: the shop's lock and the claim of rows, each tested alone."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from deployments.sandbox.mailbox.messages import Mailbox
from tests.support.aliases import Demo
from tests.support.invitations import confirm_everyone
from tests.support.reminders import NOW, WEEK
from tests.support.waiting import wait_until
from wishcraft.domain.mail_references import MailKind
from wishcraft.domain.reminders import due_dates
from wishcraft.mail.mailer import Mail, Mailer
from wishcraft.resources import Resources, open_resources
from wishcraft.services.reminders.send import remind_shop
from wishcraft.settings import Settings
from wishcraft.store import outbox, reminders
from wishcraft.store.reminders import ReminderRows
from wishcraft.store.schema.mail import MailState
from wishcraft.store.shops import ShopRef

DUE = due_dates(NOW.date(), NOW.date())


@pytest.fixture
async def planned(resources: Resources, demo: Demo, shop: ShopRef) -> list[int]:
    """The ids of sendable reminders, each of another registry."""
    demo.execute("UPDATE registries SET event_date = %s, status = 'active'", [WEEK])
    demo.execute("UPDATE registries SET co_registrants = '[]'")
    demo.execute("UPDATE registries SET customer_email = 'r' || id || '@example.com'")
    confirm_everyone(demo)
    ids = [registry_id for (registry_id,) in demo.execute("SELECT id FROM registries WHERE shop_id = 1")]
    wanted = ReminderRows([], [], [], [])
    for registry_id in ids:
        wanted.add(registry_id, NOW.date() + timedelta(7), DUE[WEEK], f"r{registry_id}@example.com")
    async with resources.db.transaction() as session:
        await reminders.plan(session, shop.id, wanted, shop.domain)
        await reminders.plan(session, shop.id, wanted, shop.domain)  # again: nothing more
        return await reminders.find_sendable(session, shop.id, DUE)


class Waiting:
    """A mailer that sends only after `go_on` is set."""

    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer
        self.go_on = asyncio.Event()

    async def send(self, mail: Mail) -> None:
        await self.go_on.wait()
        await self._mailer.send(mail)

    async def close(self) -> None:
        await self._mailer.close()


async def test_a_second_run_waits_for_reminders_in_sending(
    resources: Resources, settings: Settings, demo: Demo, shop: ShopRef, mailbox: Mailbox
) -> None:
    demo.execute("UPDATE registries SET event_date = %s", [NOW.date() + timedelta(60)])
    demo.execute("UPDATE registries SET event_date = %s WHERE id = %s", [WEEK, 100_000_001])
    mailer = Waiting(resources.mailer)
    first = asyncio.create_task(remind_shop(replace(resources, mailer=mailer), settings, shop, now=NOW))
    sending = "SELECT count(*) FROM reminders WHERE state = 'sending'"
    await wait_until(lambda: demo.execute(sending).fetchone() != (0,))
    async with open_resources(settings, redis_timeout=5) as other:
        second = asyncio.create_task(remind_shop(other, settings, shop, now=NOW))
        waiting = """SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND strpos(query, 'INSERT INTO locks') > 0
                         AND pid NOT IN (SELECT pid FROM locks) AND pid <> pg_backend_pid()"""
        await wait_until(lambda: second.done() or demo.execute(waiting).fetchone() == (1,))
        mailer.go_on.set()
        counts = await asyncio.gather(first, second)
    assert [each["due"] for each in counts] == [counts[0]["sent"], 0]
    assert len(mailbox.messages) == counts[0]["sent"] > 0


async def test_concurrent_claims_share_the_reminders_without_waiting(
    resources: Resources, shop: ShopRef, planned: list[int]
) -> None:
    async with resources.db.transaction() as one, resources.db.transaction() as other:
        first = await reminders.claim_batch(one, shop.id, DUE, planned[:2])
        second = await reminders.claim_batch(other, shop.id, DUE, planned)  # while the first has not committed
    assert {each.id for each in first} == set(planned[:2])
    assert {each.id for each in second} == set(planned[2:])
    async with resources.db.transaction() as late:
        assert await reminders.claim_batch(late, shop.id, DUE, planned) == []


async def test_a_claim_that_was_taken_back_cannot_settle(
    resources: Resources, demo: Demo, shop: ShopRef, planned: list[int]
) -> None:
    async with resources.db.transaction() as session:
        [stale] = await reminders.claim_batch(session, shop.id, DUE, planned[:1])
        await outbox.release_claims(session, MailKind.REMINDER, shop.id)
        [fresh] = await reminders.claim_batch(session, shop.id, DUE, planned[:1])
    assert (fresh.attempt, fresh.message_id) == (stale.attempt + 1, stale.message_id)
    async with resources.db.transaction() as session:
        await outbox.record_state(session, MailKind.REMINDER, shop.id, stale, MailState.FAILED, "late", None)
    assert demo.execute("SELECT state FROM reminders WHERE id = %s", [stale.id]).fetchone() == ("sending",)


async def test_reminders_of_another_shop_cannot_be_claimed(resources: Resources, planned: list[int]) -> None:
    async with resources.db.transaction() as session:
        assert await reminders.claim_batch(session, 2, DUE, planned) == []
