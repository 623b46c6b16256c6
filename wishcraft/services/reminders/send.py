"""Sends a shop's event reminders, one for each address and event date, however many runs there are.

A run that is killed may leave one that the mail server may have: by the setting, it is sent again or held.

Due reminders are stored as rows, claimed in small batches, and sent outside any transaction; each result is recorded
at once.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

from wishcraft.domain.mail_references import MailKind
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts
from wishcraft.domain.reminders import ReminderKind, due_dates
from wishcraft.mail.mailer import Mail
from wishcraft.mail.messages.content import Letterhead
from wishcraft.mail.messages.reminder import Links, compose_reminder
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint, no_checkpoint
from wishcraft.services.mail.references import make_reference
from wishcraft.services.mail.reputation import count_paused, is_paused
from wishcraft.services.mail.send import NO_MAILS, MailRun, find_letterhead, make_mail, send_claimed, send_in_batches
from wishcraft.services.mail.unsubscribe import unsubscribe_link
from wishcraft.settings import Settings
from wishcraft.store import locks, outbox, registries, reminders
from wishcraft.store.reminders import ClaimedReminder, DueReminders
from wishcraft.store.shops import ShopRef

REMINDERS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class ReminderRun:
    """One run over one shop."""

    resources: Resources
    settings: Settings
    shop: ShopRef
    now: datetime
    """When it began; `began` is the same on the monotonic clock."""
    began: float
    day: date | None
    """The day for which it sends reminders; None for the shop's own day."""
    letterhead: Letterhead
    today: date
    """The shop's day, from which the mail counts the days left."""
    due: Mapping[date, ReminderKind]
    """Event dates for which a reminder is due, with its kind."""


async def remind_shop(
    resources: Resources,
    settings: Settings,
    shop: ShopRef,
    *,
    now: datetime,
    today: date | None = None,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
) -> dict[str, int]:
    """Send the reminders of the shop's active registries that are due at `now` (aware), or on the shop's day `today`.

    A lock lets one run at a time send a shop's mail; others wait. If a run was killed while it sent a reminder, the
    server may have accepted it: REMINDER_RECOVERY decides whether it is sent again with the same Message-ID or held.

    Returns:
        Counts: `due` reminders that were handled, and of them `sent`, `suppressed` (the address was unsubscribed or
        suppressed before), `refused` (the server says that the address does not exist; see `judge_refusals`), `failed`
        permanently, and `postponed` to the next run. `paused` are those that wait because of complaints. `held` counts
        all reminders that the server may have, including those of earlier runs.

    Raises:
        MailUnavailable: The mail server does not answer; unsent reminders stay due.
        SenderRefused, EveryMailRefused, ConfigurationError: The sender or a setting must be corrected first.
        RunStopped: Raised by the checkpoint.
    """
    changes = Changes() if changes is None else changes
    changes.update(NO_MAILS)
    run = await _start_run(resources, settings, shop, now, today)
    async with locks.acquire(resources.db, outbox.sending_lock(MailKind.REMINDER), shop.id):
        ids = await _find_work(run)
        if await is_paused(resources, shop):
            count_paused(changes, len(ids))
            ids = []
        await send_in_batches(resources, shop, ids, checkpoint, partial(_send, run, changes))
        async with resources.db.repeatable_read() as session:
            held = await outbox.count_held(session, MailKind.REMINDER, shop.id)
    return {**changes, "held": held}


async def find_due_reminders(
    resources: Resources, settings: Settings, shop: ShopRef, *, now: datetime, today: date | None = None
) -> list[DueReminders]:
    """Return what `remind_shop` would send. Read-only."""
    if not shop.settings.email_notifications:
        return []
    run = await _start_run(resources, settings, shop, now, today)
    found: list[DueReminders] = []
    async for batch in reminders.iter_due_batches(resources.db, shop.id, run.due, REMINDERS_AT_ONCE):
        async with resources.db.repeatable_read() as session:
            found += await reminders.find_due(session, shop.id, batch)
    return found


async def _start_run(
    resources: Resources, settings: Settings, shop: ShopRef, now: datetime, today: date | None
) -> ReminderRun:
    letterhead, local_today = await find_letterhead(resources, shop, now)
    day = today or local_today
    # A reminder that is late or early states the days that are left on the day it is sent.
    due = due_dates(day, local_today)
    return ReminderRun(resources, settings, shop, now, time.monotonic(), today, letterhead, local_today, due)


async def _continue(run: ReminderRun) -> ReminderRun:
    """The run as of now: since it began, a setting may have changed, and the shop's day may have ended."""
    now = run.now + timedelta(seconds=time.monotonic() - run.began)
    letterhead, today = await find_letterhead(run.resources, run.shop, now)
    return replace(run, letterhead=letterhead, today=today, due=due_dates(run.day or today, today))


async def _find_work(run: ReminderRun) -> list[int]:
    """Store the due reminders as rows, and return the ids of those that can be sent; none while the mail is off.

    The caller holds the shop's lock. So a reminder in the state `sending` was left by a run that was killed.
    """
    db, shop_id = run.resources.db, run.shop.id
    async with db.transaction() as session:
        await outbox.settle_accepted(session, MailKind.REMINDER, shop_id)
        await reminders.fail_past_events(session, shop_id, run.today)
        if run.settings.reminder_recovery == "resend":
            await outbox.release_claims(session, MailKind.REMINDER, shop_id)
    if not run.shop.settings.email_notifications:
        return []
    async for batch in reminders.iter_due_batches(db, shop_id, run.due, REMINDERS_AT_ONCE):
        async with db.transaction() as session:
            await reminders.plan(session, shop_id, batch, run.shop.domain)
    async with db.repeatable_read() as session:
        return await reminders.find_sendable(session, shop_id, run.due)


async def _send(run: ReminderRun, changes: Changes, ids: Sequence[int]) -> None:
    """Claim these reminders, compose their mails, send them concurrently, and count the results.

    Raises the first error that keeps a mail from being sent, after all others have ended.
    """
    run = await _continue(run)
    async with run.resources.db.transaction() as session:
        claimed = await reminders.claim_batch(session, run.shop.id, run.due, ids)
        slugs = sorted({reminder.slug for reminder in claimed})
        facts = await registries.find_facts(session, run.shop.id, slugs, run.resources.shopify_origin)
        by_slug = {registry.slug: (registry, items) for registry, items in facts}
        # Composed before the commit: if a mail cannot be composed, the claim is rolled back.
        mails = [(each, _compose(run, each, *by_slug[each.slug])) for each in claimed if not each.suppressed]
    mail_run = MailRun(run.resources, run.settings, run.shop.id, MailKind.REMINDER)
    await send_claimed(mail_run, len(claimed), mails, changes)
    for each, _ in mails:
        changes.add_example("registries with due reminders", str(by_slug[each.slug][0].id))


def _compose(run: ReminderRun, claimed: ClaimedReminder, registry: RegistryFacts, items: list[ItemFacts]) -> Mail:
    unsubscribe = unsubscribe_link(run.settings, run.shop.id, claimed.recipient)
    links = Links(registry.share_url, unsubscribe)
    content = compose_reminder(
        run.letterhead, registry, items, run.today, links, to_registrant=claimed.is_to_registrant
    )
    reference = make_reference(run.settings, MailKind.REMINDER, run.shop.id, claimed.id)
    return make_mail(claimed, run.letterhead, content, unsubscribe, reference)
