"""What sending reminders and sending invitations share: letterhead, batches, delivery, outcomes, and judging refusals.

Each outcome is recorded at once; at the end of a run it is decided which refused addresses are suppressed.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfoNotFoundError

from wishcraft.domain.batches import batches
from wishcraft.domain.mail_domains import own_sender
from wishcraft.domain.mail_events import (
    COMPLAINT_PERIOD,
    MailReference,
    MailTable,
    SuppressionReason,
    derive_keys,
    make_token,
    too_many_complaints,
)
from wishcraft.domain.plain_text import one_line
from wishcraft.domain.reminders import local_day, too_many_rejected
from wishcraft.errors import (
    AddressRejected,
    ConfigurationError,
    EveryMailRejected,
    MailOutcomeUnknown,
    MailPostponed,
    MailRejected,
    MailUnavailable,
    SenderRejected,
    TooManyAddressesRejected,
    UnknownShop,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.messages.rendering import Content, Letterhead
from wishcraft.mail.providers.configuration import mail_provider
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.settings import Settings
from wishcraft.store import audit_log, deliveries, mail_events, shops
from wishcraft.store.audit_log import Actor
from wishcraft.store.deliveries import ClaimedMail, Table
from wishcraft.store.schema.mail import MailState
from wishcraft.store.shops import ShopRef

SENDS_AT_ONCE: Final = 4
"""Size of a batch. A killed run leaves at most this many mails with an unknown outcome."""
MOST_FAILED: Final = 3 * SENDS_AT_ONCE
"""If so many mails of a shop are rejected and none is accepted, the sender is at fault, and a run stops there."""
BATCHES_BETWEEN_CHECKS: Final = 25
"""After so many, a run looks again whether complaints pause its shop."""
_ACTOR: Final = "mail refusal"
_REASONS: Final = {
    "refused": "why addresses were refused",
    "failed": "why mails failed",
    "postponed": "why mails were postponed",
    "held": "why outcomes are unknown",
}
"""Headings of a run's summary, by the count that the reason is of."""
_log: Final = logging.getLogger(__name__)

SendBatch = Callable[[Sequence[int]], Awaitable[None]]
"""Claims and sends the mails with these ids."""


class Delivery(NamedTuple):
    """What the mails of one shop in one table have in common."""

    resources: Resources
    settings: Settings
    shop_id: int
    table: Table


async def find_letterhead(resources: Resources, shop: ShopRef, now: datetime) -> tuple[Letterhead, date]:
    """Return the shop's letterhead, and its day at `now` (aware).

    Raises:
        UnknownShop: The shop was deleted.
        ConfigurationError: Its time zone does not exist.
    """
    async with resources.db.repeatable_read() as session:
        sender = await shops.find_sender(session, shop.id)
    if sender is None:
        raise UnknownShop(f"{shop.domain} no longer exists")
    try:
        day = local_day(now, sender.timezone)
    except (ValueError, ZoneInfoNotFoundError):
        raise ConfigurationError(f"{shop.domain} has the unknown time zone {sender.timezone!r}") from None
    own = sender.settings
    letterhead = Letterhead(
        sender.name,
        own.brand_colour,
        own_sender(own.mail_from, sender.verified_mail_domain),
        own.reply_to,
        one_line(own.postal_address or ""),
        own.language,
    )
    return letterhead, day


async def send_in_batches(
    resources: Resources, shop: ShopRef, ids: Sequence[int], checkpoint: Checkpoint, send: SendBatch
) -> None:
    """Call `send` with `SENDS_AT_ONCE` ids at a time, until mail is switched off or complaints pause the shop."""
    for number, batch in enumerate(batches(ids, SENDS_AT_ONCE)):
        await checkpoint(number * SENDS_AT_ONCE, len(ids))
        if not await _goes_on(resources, shop, number):
            return
        await send(batch)


async def _goes_on(resources: Resources, shop: ShopRef, batch: int) -> bool:
    """Whether a run sends this batch, the first of which is 0.

    Mail may have been switched off since the run began or waited for its lock, and complaints may have come.
    """
    async with resources.db.autocommit() as session:
        is_on = (await shops.find_settings(session, shop.id)).email_notifications
    is_checked = batch > 0 and batch % BATCHES_BETWEEN_CHECKS == 0
    return is_on and not (is_checked and await is_paused(resources, shop))


async def is_paused(resources: Resources, shop: ShopRef) -> bool:
    """Whether the shop is to send no mail because of complaints: else mailboxes refuse the mail of all shops."""
    since = datetime.now(UTC) - COMPLAINT_PERIOD
    async with resources.db.autocommit() as session:
        counts = await mail_events.count_complaints(session, shop.id, since)
        if paused := too_many_complaints(counts.complained, counts.told):
            # A mail server reports bounces and complaints alone, so most mails that were sent have no outcome.
            counts = counts._replace(told=max(counts.told, await mail_events.count_sent(session, since, shop.id)))
            paused = too_many_complaints(counts.complained, counts.told)
    resources.counters.set("mail_paused", float(paused), shop=shop.domain)
    if paused:
        _log.warning(
            "%s sends no mail: %d of its %d mails of the last %d days were complained about. Runbook: mail.",
            *(shop.domain, counts.complained, counts.told, COMPLAINT_PERIOD.days),
        )
    return paused


def pause(changes: Changes, waiting: int) -> None:
    """Count the mails that wait because complaints pause their shop, and say so in the run's summary."""
    changes["paused"] += waiting
    changes.note("mails paused because of complaints (runbook: mail)", f"{waiting:,}")


def make_mail(
    claimed: ClaimedMail, letterhead: Letterhead, content: Content, unsubscribe_url: str, reference: str
) -> Mail:
    """Address the content to the recipient of a claimed mail; events name it by the reference."""
    return Mail(
        recipient=claimed.recipient,
        sender_name=letterhead.shop,
        subject=content.subject,
        text=content.text,
        html=content.html,
        message_id=claimed.message_id,
        unsubscribe_url=unsubscribe_url,
        sender=letterhead.sender,
        reply_to=letterhead.reply_to,
        reference=reference,
    )


def reference_keys(settings: Settings) -> list[bytes]:
    """Return the signing keys of references, derived from ENCRYPTION_KEYS: the first signs, all verify."""
    return derive_keys(settings.encryption_secrets)


def make_reference(settings: Settings, table: MailTable, shop_id: int, row_id: int) -> str:
    """Return the signed token of a mail's row, for `make_mail`."""
    return make_token(MailReference(table, shop_id, row_id), reference_keys(settings)[0])


async def send_claimed(
    delivery: Delivery, claimed: int, mails: Sequence[tuple[ClaimedMail, Mail]], changes: Changes
) -> None:
    """Send the mails concurrently, and count those that have an outcome as `due` and by outcome.

    Args:
        delivery: Where they belong.
        claimed: How many were claimed; those without a mail have a suppressed address.
        mails: The others.
        changes: Where they are counted. `held` is not: the caller counts all that are held.

    Raises:
        MailUnavailable, SenderRejected, ConfigurationError: After all sends have ended and are recorded.
        EveryMailRejected: So many have failed, and none was sent.
    """
    outcomes = await asyncio.gather(*(_deliver(delivery, *each, changes) for each in mails), return_exceptions=True)
    counts = Counter(outcome for outcome in outcomes if isinstance(outcome, str))
    counts["suppressed"] += claimed - len(mails)
    for outcome, number in counts.items():
        delivery.resources.counters.count("mails_total", number, outcome=outcome)
    changes["due"] += counts.total()
    del counts["held"]
    changes.update(counts)
    for failure in outcomes:
        if isinstance(failure, BaseException):
            raise failure
    rejected = changes["failed"] - changes["given_up"]
    if rejected >= MOST_FAILED and not changes["sent"]:
        raise EveryMailRejected(f"the mail provider rejects every mail: {rejected:,} so far")


async def judge_refusals(resources: Resources, table: Table, since: datetime) -> None:
    """Suppress the addresses of all shops that the mail server refused since then, unless it refused most of them.

    Raises:
        TooManyAddressesRejected: It refused most recipients. No address is suppressed, and the mails stay due.
    """
    async with resources.db.transaction() as session:
        tried = await deliveries.count_deliveries(session, table, since)
        if not too_many_rejected(tried.refused, tried.sent):
            for shop_id, hashed in await deliveries.suppress_rejected(session, table, since):
                details = {"reason": SuppressionReason.BOUNCE.value}
                actor = Actor(shop_id, _ACTOR)
                await audit_log.record(session, actor, "mail.suppressed", "address", hashed.hex(), details)
            return
    mailboxes = tried.refused + tried.sent
    raise TooManyAddressesRejected(
        f"the mail server says that {tried.refused:,} of {mailboxes:,} mailboxes do not exist"
    )


async def _deliver(delivery: Delivery, claimed: ClaimedMail, mail: Mail, changes: Changes) -> str:
    """Send the mail, record its outcome, and return the count that it belongs to; `changes` gets the reason."""
    try:
        await _send(delivery.resources, mail)
    except (MailPostponed, MailRejected, MailOutcomeUnknown) as error:
        outcome = await _record_failure(delivery, claimed, error)
        changes.note(_REASONS[outcome], str(error))
        return outcome
    except (MailUnavailable, SenderRejected, ConfigurationError) as error:
        await _record_undelivered(delivery, claimed, error)
        if isinstance(error, SenderRejected) and mail.sender:
            await _forget_own_sender(delivery)
        raise
    await _record_outcome(delivery, claimed, MailState.SENT)
    return "sent"


async def _record_failure(
    delivery: Delivery, claimed: ClaimedMail, error: MailPostponed | MailRejected | MailOutcomeUnknown
) -> str:
    """Record why the mail was not accepted, or may not have been; the count that it belongs to."""
    if isinstance(error, MailPostponed):
        await _record_undelivered(delivery, claimed, error)
        return "postponed"
    if isinstance(error, AddressRejected):
        async with delivery.resources.db.transaction() as session:
            await deliveries.record_rejection(
                session, delivery.table, delivery.shop_id, claimed, str(error), _provider(delivery)
            )
        return "refused"
    if isinstance(error, MailRejected):
        await _record_outcome(delivery, claimed, MailState.FAILED, error)
        return "failed"
    resend = delivery.settings.reminder_recovery == "resend"
    await _record_outcome(delivery, claimed, MailState.PENDING if resend else MailState.SENDING, error)
    return "postponed" if resend else "held"


async def _forget_own_sender(delivery: Delivery) -> None:
    """Let the shop's mails have MAIL_FROM as their sender until `mail-domains` has checked its own domain again."""
    async with delivery.resources.db.transaction() as session:
        await shops.set_verified_mail_domain(session, delivery.shop_id, None)
    _log.warning("The mail provider refuses the shop's own sender: the next run sends from MAIL_FROM. Runbook: mail.")


async def _send(resources: Resources, mail: Mail) -> None:
    """Send the mail, and count how long the mail server took, or that it could not be reached."""
    began = time.monotonic()
    try:
        await resources.mailer.send(mail)
    except MailUnavailable:
        resources.counters.count("mail_unavailable_total")
        raise
    finally:
        resources.counters.observe("mail_seconds", time.monotonic() - began)


async def _record_outcome(
    delivery: Delivery, claimed: ClaimedMail, state: MailState, error: Exception | None = None
) -> None:
    async with delivery.resources.db.transaction() as session:
        await deliveries.record_outcome(
            session,
            *(delivery.table, delivery.shop_id, claimed, state, str(error) if error else None, _provider(delivery)),
        )


async def _record_undelivered(delivery: Delivery, claimed: ClaimedMail, error: Exception) -> None:
    async with delivery.resources.db.transaction() as session:
        await deliveries.record_undelivered(session, delivery.table, delivery.shop_id, claimed, str(error))


def _provider(delivery: Delivery) -> str:
    return mail_provider(delivery.settings.mail_url)
