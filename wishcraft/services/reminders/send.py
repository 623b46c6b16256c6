"""Sends a shop's event reminders, each once, however many runs there are and wherever they are killed.

Due reminders are stored as rows, claimed in small batches, and sent outside any transaction; each outcome is recorded
at once.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfoNotFoundError

from wishcraft.domain.addresses import address_hash
from wishcraft.domain.batches import batches
from wishcraft.domain.registry_payload import ItemFacts, RegistryFacts
from wishcraft.domain.reminders import ReminderKind, due_dates, local_day, too_many_rejected
from wishcraft.domain.unsubscribe import Subscription, make_token
from wishcraft.errors import (
    AddressRejected,
    ConfigurationError,
    MailOutcomeUnknown,
    MailPostponed,
    MailRejected,
    MailUnavailable,
    SenderRejected,
    TooManyAddressesRejected,
    UnknownShop,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.messages.reminder import Letterhead, Links, compose_reminder
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint, no_checkpoint
from wishcraft.services.reminders.unsubscribe import unsubscribe_keys
from wishcraft.settings import Settings
from wishcraft.store import locks, registries, reminders
from wishcraft.store.reminders import ClaimedReminder, DueReminders
from wishcraft.store.schema.mail import ReminderState
from wishcraft.store.shops import ShopRef

REGISTRIES_AT_ONCE: Final = 500
SENDS_AT_ONCE: Final = 4
"""Size of a batch. A killed run leaves at most this many reminders with an unknown outcome."""


@dataclass(frozen=True, slots=True)
class ReminderRun:
    """The constants of one run over one shop."""

    resources: Resources
    settings: Settings
    shop: ShopRef
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
    outcome is unknown: REMINDER_RECOVERY decides whether it is sent again with the same Message-ID or held.

    Returns:
        Counts: `due` reminders that have an outcome, and of them `sent`, `suppressed` (the address was unsubscribed or
        suppressed before), `refused` (the server says that the address does not exist; see `judge_refusals`), `failed`
        permanently, and `postponed` to the next run. `held` counts all reminders whose outcome is unknown, including
        those of earlier runs.

    Raises:
        MailUnavailable: The mail server does not answer; unsent reminders stay due.
        SenderRejected, ConfigurationError: The sender or a setting must be corrected first.
        RunStopped: Raised by the checkpoint.
    """
    changes = Counter() if changes is None else changes
    changes.update(due=0, sent=0, suppressed=0, refused=0, failed=0, postponed=0)
    if not shop.settings.email_notifications:
        return {**changes, "held": 0}
    run = await _start_run(resources, settings, shop, now, today)
    async with locks.acquire(resources.db, "reminders", shop.id):
        ids = await _find_work(run)
        for number, batch in enumerate(batches(ids, SENDS_AT_ONCE)):
            await checkpoint(number * SENDS_AT_ONCE, len(ids))
            await _send(run, list(batch), changes)
        async with resources.db.repeatable_read() as session:
            held = await reminders.count_held(session, shop.id)
    return {**changes, "held": held}


async def judge_refusals(resources: Resources, since: datetime) -> None:
    """Suppress the addresses of all shops that the mail server refused since then, unless it refused most of them.

    Raises:
        TooManyAddressesRejected: It refused most recipients. No address is suppressed, and the reminders stay due.
    """
    async with resources.db.transaction() as session:
        tried = await reminders.count_deliveries(session, since)
        if not too_many_rejected(tried.refused, tried.sent):
            return await reminders.suppress_rejected(session, since)
    mailboxes = tried.refused + tried.sent
    raise TooManyAddressesRejected(
        f"the mail server says that {tried.refused:,} of {mailboxes:,} mailboxes do not exist"
    )


async def find_due_reminders(
    resources: Resources, settings: Settings, shop: ShopRef, *, now: datetime, today: date | None = None
) -> list[DueReminders]:
    """Return what `remind_shop` would send. Read-only."""
    if not shop.settings.email_notifications:
        return []
    run = await _start_run(resources, settings, shop, now, today)
    found: list[DueReminders] = []
    async for batch in reminders.iter_due_batches(resources.db, shop.id, run.due, REGISTRIES_AT_ONCE):
        async with resources.db.repeatable_read() as session:
            found += await reminders.find_due(session, shop.id, batch)
    return found


async def _start_run(
    resources: Resources, settings: Settings, shop: ShopRef, now: datetime, today: date | None
) -> ReminderRun:
    async with resources.db.repeatable_read() as session:
        sender = await reminders.find_sender(session, shop.id)
    if sender is None:
        raise UnknownShop(f"{shop.domain} no longer exists")
    try:
        local_today = local_day(now, sender.timezone)
    except (ValueError, ZoneInfoNotFoundError):
        raise ConfigurationError(f"{shop.domain} has the unknown time zone {sender.timezone!r}") from None
    letterhead = Letterhead(sender.name, shop.settings.brand_colour)
    day = today or local_today
    # A late reminder states the days that are left on the day it is sent.
    return ReminderRun(resources, settings, shop, letterhead, max(day, local_today), due_dates(day, local_today))


async def _find_work(run: ReminderRun) -> list[int]:
    """Store the due reminders as rows, and return the ids of those that can be sent.

    The caller holds the shop's lock. So a reminder in the state `sending` was left by a run that was killed.
    """
    db, shop_id = run.resources.db, run.shop.id
    async with db.transaction() as session:
        await reminders.fail_past_events(session, shop_id, run.today)
        if run.settings.reminder_recovery == "resend":
            await reminders.release_claims(session, shop_id)
    async for batch in reminders.iter_due_batches(db, shop_id, run.due, REGISTRIES_AT_ONCE):
        async with db.transaction() as session:
            await reminders.plan(session, shop_id, batch, run.shop.domain)
    async with db.repeatable_read() as session:
        return await reminders.find_sendable(session, shop_id, run.due)


async def _send(run: ReminderRun, ids: list[int], changes: Changes) -> None:
    """Claim these reminders, compose their mails, send them concurrently, and count the outcomes.

    Raises the first error that keeps a mail from being sent, after all others have an outcome.
    """
    async with run.resources.db.transaction() as session:
        claimed = await reminders.claim_batch(session, run.shop.id, run.due, ids)
        facts = await registries.find_facts(session, run.shop.id, sorted({reminder.slug for reminder in claimed}))
        by_slug = {registry.slug: (registry, items) for registry, items in facts}
        # Composed before the commit: if a mail cannot be composed, the claim is rolled back.
        mails = [(each, _compose(run, each, *by_slug[each.slug])) for each in claimed if not each.suppressed]
    outcomes = await asyncio.gather(*(_deliver(run, *each) for each in mails), return_exceptions=True)
    counts = Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    counts["suppressed"] += len(claimed) - len(mails)
    for outcome, mails_of_it in counts.items():
        run.resources.counters.count("mails_total", mails_of_it, outcome=outcome)
    changes["due"] += counts.total()
    del counts["held"]  # the caller counts all that are held
    changes.update(counts)
    for failure in outcomes:  # only now: all sends have ended and are recorded
        if isinstance(failure, BaseException):
            raise failure


def _compose(run: ReminderRun, claimed: ClaimedReminder, registry: RegistryFacts, items: list[ItemFacts]) -> Mail:
    subscription = Subscription(run.shop.id, address_hash(run.shop.id, claimed.recipient))
    key = unsubscribe_keys(run.settings)[0]
    if run.settings.public_url is None:
        raise ConfigurationError("PUBLIC_URL is not set: unsubscribe links in mail need it")
    unsubscribe = f"{run.settings.public_url.rstrip('/')}/api/unsubscribe/{make_token(subscription, key)}"
    link = run.settings.storefront_registry_url.format(shop=run.shop.domain, slug=claimed.slug)
    content = compose_reminder(run.letterhead, registry, items, run.today, Links(link, unsubscribe))
    return Mail(
        recipient=claimed.recipient,
        sender_name=run.letterhead.shop,
        subject=content.subject,
        text=content.text,
        html=content.html,
        message_id=claimed.message_id,
        unsubscribe_url=unsubscribe,
    )


async def _deliver(run: ReminderRun, claimed: ClaimedReminder, mail: Mail) -> str:
    """Send the mail, record its outcome, and return the count that it belongs to."""
    try:
        await run.resources.mailer.send(mail)
    except MailPostponed as error:
        await _record_outcome(run, claimed, ReminderState.PENDING, error)
        return "postponed"
    except AddressRejected as error:
        async with run.resources.db.transaction() as session:
            await reminders.record_rejection(session, run.shop.id, claimed, str(error))
        return "refused"
    except MailRejected as error:
        await _record_outcome(run, claimed, ReminderState.FAILED, error)
        return "failed"
    except MailOutcomeUnknown as error:
        resend = run.settings.reminder_recovery == "resend"
        await _record_outcome(run, claimed, ReminderState.PENDING if resend else ReminderState.SENDING, error)
        return "postponed" if resend else "held"
    except (MailUnavailable, SenderRejected, ConfigurationError) as error:
        await _record_outcome(run, claimed, ReminderState.PENDING, error)
        raise
    await _record_outcome(run, claimed, ReminderState.SENT)
    return "sent"


async def _record_outcome(
    run: ReminderRun, claimed: ClaimedReminder, state: ReminderState, error: Exception | None = None
) -> None:
    async with run.resources.db.transaction() as session:
        await reminders.record_outcome(session, run.shop.id, claimed, state, str(error) if error else None)
