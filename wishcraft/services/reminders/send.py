"""Reminds a shop's registrants of their events: each reminder goes out once, however often and wherever this runs.

What is owed is written down, then claimed a few at a time, sent outside any transaction, and settled one by one.
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
from wishcraft.services.checkpoint import Checkpoint, no_checkpoint
from wishcraft.services.reminders.unsubscribe import unsubscribe_keys
from wishcraft.settings import Settings
from wishcraft.store import locks, registries, reminders
from wishcraft.store.reminders import ClaimedReminder, DueReminders
from wishcraft.store.schema.mail import ReminderState
from wishcraft.store.shops import ShopRef

REGISTRIES_AT_ONCE: Final = 500
SENDS_AT_ONCE: Final = 4
"""As many mails are claimed and on their way together, so that a run that dies leaves no more in doubt."""


@dataclass(frozen=True, slots=True)
class _Round:
    """One run over one shop: what does not change while it lasts."""

    resources: Resources
    settings: Settings
    shop: ShopRef
    letterhead: Letterhead
    today: date
    due: Mapping[date, ReminderKind]


async def remind_shop(
    resources: Resources,
    settings: Settings,
    shop: ShopRef,
    *,
    now: datetime,
    today: date | None = None,
    checkpoint: Checkpoint = no_checkpoint,
) -> dict[str, int]:
    """Send the reminders that the shop's active registries are owed at `now` (aware), or on the shop's day `today`.

    One run at a time sends a shop's mail, in any process; a second one waits for the first. A reminder whose run died
    when it may have gone out is sent again with the same Message-ID, or stays as it is, as `REMINDER_RECOVERY` says.

    Returns:
        Counts: `due` reminders taken up, of them `sent`, `suppressed` because their address was before, `refused`
        because there is no such address (`judge_refusals` decides), `failed` for good, and `postponed` to the next run;
        and those `held`, now or from before, because nobody knows whether they went out.

    Raises:
        MailUnavailable: The mail server is away; what is not sent is left for the next run.
        SenderRejected, ConfigurationError: It will not work until someone changes something.
        RunStopped: From the checkpoint.
    """
    counts = Counter(due=0, sent=0, suppressed=0, refused=0, failed=0, postponed=0, held=0)
    if not shop.settings.email_notifications:
        return dict(counts)
    this = await _begin(resources, settings, shop, now, today)
    async with locks.acquire(resources.db, "reminders", shop.id):
        ids = await _find_work(this)
        for number, batch in enumerate(batches(ids, SENDS_AT_ONCE)):
            await checkpoint(number * SENDS_AT_ONCE, len(ids))
            counts.update(await _send(this, list(batch)))
        async with resources.db.repeatable_read() as session:
            counts["held"] = await reminders.count_held(session, shop.id)
    return dict(counts)


async def judge_refusals(resources: Resources, since: datetime) -> None:
    """Suppress the addresses that were refused since then, in any shop, if the mail server can be believed.

    Raises:
        TooManyAddressesRejected: It refused most recipients. Nobody is suppressed, and their reminders stay due.
    """
    async with resources.db.transaction() as session:
        tried = await reminders.count_deliveries(session, since)
        if not too_many_rejected(tried.refused, tried.sent):
            return await reminders.suppress_rejected(session, since)
    mailboxes = tried.refused + tried.sent
    raise TooManyAddressesRejected(
        f"the mail server says that {tried.refused:,} of {mailboxes:,} mailboxes do not exist"
    )


async def find_owed(
    resources: Resources, settings: Settings, shop: ShopRef, *, now: datetime, today: date | None = None
) -> list[DueReminders]:
    """What `remind_shop` would send, by registry; writes nothing."""
    if not shop.settings.email_notifications:
        return []
    this = await _begin(resources, settings, shop, now, today)
    owed: list[DueReminders] = []
    async for wanted in reminders.iter_due_batches(resources.db, shop.id, this.due, REGISTRIES_AT_ONCE):
        async with resources.db.repeatable_read() as session:
            owed += await reminders.find_due(session, shop.id, wanted)
    return owed


async def _begin(resources: Resources, settings: Settings, shop: ShopRef, now: datetime, today: date | None) -> _Round:
    async with resources.db.repeatable_read() as session:
        sender = await reminders.find_sender(session, shop.id)
    if sender is None:
        raise UnknownShop(f"{shop.domain} is gone")
    try:
        this_day = local_day(now, sender.timezone)
    except (ValueError, ZoneInfoNotFoundError):
        raise ConfigurationError(f"{shop.domain} is in {sender.timezone!r}, which is no time zone") from None
    letterhead = Letterhead(sender.name, shop.settings.brand_colour)
    day = today or this_day
    # A reminder that is late tells the days that are really left.
    return _Round(resources, settings, shop, letterhead, max(day, this_day), due_dates(day, this_day))


async def _find_work(this: _Round) -> list[int]:
    """Write down what is owed, and return the ids of what can be sent.

    It must hold the shop's lock: then what is `sending` belongs to a run that has died.
    """
    db, shop_id = this.resources.db, this.shop.id
    async with db.transaction() as session:
        await reminders.fail_past_events(session, shop_id, this.today)
        if this.settings.reminder_recovery == "resend":
            await reminders.release_claims(session, shop_id)
    async for wanted in reminders.iter_due_batches(db, shop_id, this.due, REGISTRIES_AT_ONCE):
        async with db.transaction() as session:
            await reminders.plan(session, shop_id, wanted, this.shop.domain)
    async with db.repeatable_read() as session:
        return await reminders.find_sendable(session, shop_id, this.due)


async def _send(this: _Round, ids: list[int]) -> Counter[str]:
    """Claim these reminders, write their mails, and send them at the same time; what became of them, counted."""
    async with this.resources.db.transaction() as session:
        claimed = await reminders.claim_batch(session, this.shop.id, this.due, ids)
        facts = await registries.find_facts(session, this.shop.id, sorted({each.slug for each in claimed}))
        by_slug = {registry.slug: (registry, items) for registry, items in facts}
        # Written before the commit: a mail that cannot be written is not claimed.
        mails = [(each, _write(this, each, *by_slug[each.slug])) for each in claimed if not each.suppressed]
    counts = Counter(due=len(claimed), suppressed=len(claimed) - len(mails))
    outcomes = await asyncio.gather(*(_deliver(this, *each) for each in mails), return_exceptions=True)
    counts.update(outcome for outcome in outcomes if isinstance(outcome, str))
    for outcome in counts.keys() - {"due"}:
        this.resources.counters.count("mails_total", counts[outcome], outcome=outcome)
    for failure in outcomes:  # all have ended: none is left on its way when the first failure is raised
        if isinstance(failure, BaseException):
            raise failure
    return counts


def _write(this: _Round, claimed: ClaimedReminder, registry: RegistryFacts, items: list[ItemFacts]) -> Mail:
    subscription = Subscription(this.shop.id, address_hash(this.shop.id, claimed.recipient))
    key = unsubscribe_keys(this.settings)[0]
    if this.settings.public_url is None:
        raise ConfigurationError("PUBLIC_URL must be set to send mail: the links to unsubscribe start with it")
    unsubscribe = f"{this.settings.public_url.rstrip('/')}/api/unsubscribe/{make_token(subscription, key)}"
    link = this.settings.storefront_registry_url.format(shop=this.shop.domain, slug=claimed.slug)
    content = compose_reminder(this.letterhead, registry, items, this.today, Links(link, unsubscribe))
    return Mail(
        recipient=claimed.recipient,
        sender_name=this.letterhead.shop,
        subject=content.subject,
        text=content.text,
        html=content.html,
        message_id=claimed.message_id,
        unsubscribe_url=unsubscribe,
    )


async def _deliver(this: _Round, claimed: ClaimedReminder, mail: Mail) -> str:
    """Send the mail and settle its reminder at once; which count it belongs to."""
    try:
        await this.resources.mailer.send(mail)
    except MailPostponed as error:
        await _settle(this, claimed, ReminderState.PENDING, error)
        return "postponed"
    except AddressRejected as error:
        async with this.resources.db.transaction() as session:
            await reminders.record_rejection(session, this.shop.id, claimed, str(error))
        return "refused"
    except MailRejected as error:
        await _settle(this, claimed, ReminderState.FAILED, error)
        return "failed"
    except MailOutcomeUnknown as error:
        resend = this.settings.reminder_recovery == "resend"
        await _settle(this, claimed, ReminderState.PENDING if resend else ReminderState.SENDING, error)
        return "postponed" if resend else "held"
    except (MailUnavailable, SenderRejected, ConfigurationError) as error:
        await _settle(this, claimed, ReminderState.PENDING, error)
        raise
    await _settle(this, claimed, ReminderState.SENT)
    return "sent"


async def _settle(this: _Round, claimed: ClaimedReminder, state: ReminderState, error: Exception | None = None) -> None:
    async with this.resources.db.transaction() as session:
        await reminders.record_outcome(session, this.shop.id, claimed, state, str(error) if error else None)
