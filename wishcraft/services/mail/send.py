"""Sending of reminders and invitations: letterhead, batches and hand-over.

The result of each hand-over is recorded at once; at the end of a run `judge_refusals` decides which refused addresses
are suppressed.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfoNotFoundError

from wishcraft.domain.batches import batches
from wishcraft.domain.mail_domains import own_sender
from wishcraft.domain.mail_references import MailKind
from wishcraft.domain.mail_text import one_line
from wishcraft.domain.reminders import local_day
from wishcraft.errors import (
    AddressRefused,
    ConfigurationError,
    EveryMailRefused,
    MailAcceptanceUnknown,
    MailPostponed,
    MailRefused,
    MailUnavailable,
    OwnSenderRefused,
    SenderRefused,
    UnknownShop,
)
from wishcraft.mail.mailer import Mail
from wishcraft.mail.messages.content import Content, Letterhead
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint
from wishcraft.services.mail.reputation import is_paused
from wishcraft.settings import Settings
from wishcraft.store import outbox, shops
from wishcraft.store.outbox import ClaimedMail
from wishcraft.store.schema.mail import MailState
from wishcraft.store.shops import ShopRef
from wishcraft.urls.mail import mail_provider

SENDS_AT_ONCE: Final = 4
"""Size of a batch. A killed run leaves at most this many mails that may or may not have been accepted."""
MOST_FAILED: Final = 3 * SENDS_AT_ONCE
"""If this many mails of a shop are refused and none is sent, the sender is at fault: the run sends no more of it."""
BATCHES_BETWEEN_CHECKS: Final = 25
"""After this many, a run looks again whether complaints pause its shop."""
NO_MAILS: Final = dict.fromkeys(("due", "sent", "suppressed", "refused", "failed", "postponed", "paused"), 0)
"""The counts with which a run begins."""
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


class MailRun(NamedTuple):
    """The constants of one run that sends the mails of one kind of one shop."""

    resources: Resources
    settings: Settings
    shop_id: int
    kind: MailKind


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
    """Whether a run sends this batch (numbered from 0).

    Mail may have been switched off since the run began or waited for its lock, and complaints may have come.
    """
    async with resources.db.autocommit() as session:
        is_on = (await shops.find_settings(session, shop.id)).email_notifications
    is_checked = batch > 0 and batch % BATCHES_BETWEEN_CHECKS == 0
    return is_on and not (is_checked and await is_paused(resources, shop))


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


async def send_claimed(run: MailRun, claimed: int, mails: Sequence[tuple[ClaimedMail, Mail]], changes: Changes) -> None:
    """Send the mails concurrently, and count those that have a result as `due` and by result.

    Args:
        run: The shop and the kind of mail.
        claimed: How many were claimed; those without a mail have a suppressed address.
        mails: The others.
        changes: Where they are counted. `held` is not: the caller counts all that are held.

    Raises:
        MailUnavailable, SenderRefused, ConfigurationError: After all sends have ended and are recorded.
        EveryMailRefused: The provider has refused `MOST_FAILED` mails of the shop, and none was sent.
    """
    results = await asyncio.gather(*(_send_one(run, *each, changes) for each in mails), return_exceptions=True)
    counts = Counter(result for result in results if isinstance(result, str))
    counts["suppressed"] += claimed - len(mails)
    for result, number in counts.items():
        run.resources.counters.count("mails_total", number, outcome=result)
    changes["due"] += counts.total()
    del counts["held"]
    changes.update(counts)
    for failure in results:
        if isinstance(failure, BaseException):
            raise failure
    refused = changes["failed"] - changes["given_up"]
    if refused >= MOST_FAILED and not changes["sent"]:
        raise EveryMailRefused(f"the mail provider refuses every mail: {refused:,} so far")


async def _send_one(run: MailRun, claimed: ClaimedMail, mail: Mail, changes: Changes) -> str:
    """Send the mail, record the result, and return the count that it belongs to; `changes` gets the reason."""
    try:
        await _hand_over(run.resources, mail)
    except (MailPostponed, MailRefused, MailAcceptanceUnknown) as error:
        result = await _record_failure(run, claimed, error)
        changes.add_example(_REASONS[result], str(error))
        return result
    except (MailUnavailable, SenderRefused, ConfigurationError) as error:
        await _requeue(run, claimed, error)
        if isinstance(error, OwnSenderRefused):
            await _reset_own_sender(run)
        raise
    await _record_state(run, claimed, MailState.SENT)
    return "sent"


async def _record_failure(
    run: MailRun, claimed: ClaimedMail, error: MailPostponed | MailRefused | MailAcceptanceUnknown
) -> str:
    """Record why the mail was not accepted, or may not have been; the count that it belongs to."""
    if isinstance(error, MailPostponed):
        await _requeue(run, claimed, error)
        return "postponed"
    if isinstance(error, AddressRefused):
        async with run.resources.db.transaction() as session:
            await outbox.record_refusal(session, run.kind, run.shop_id, claimed, str(error), _provider(run))
        return "refused"
    if isinstance(error, MailRefused):
        await _record_state(run, claimed, MailState.FAILED, error)
        return "failed"
    resend = run.settings.reminder_recovery == "resend"
    await _record_state(run, claimed, MailState.PENDING if resend else MailState.SENDING, error)
    return "postponed" if resend else "held"


async def _reset_own_sender(run: MailRun) -> None:
    """Let the shop's mails have MAIL_FROM as their sender until `mail-domains` has checked its own domain again."""
    async with run.resources.db.transaction() as session:
        await shops.set_verified_mail_domain(session, run.shop_id, None)
    _log.warning("The mail provider refuses the shop's own sender: the next run sends from MAIL_FROM. Runbook: mail.")


async def _hand_over(resources: Resources, mail: Mail) -> None:
    """Give the mail to the provider, and count how long the mail server took, or that it could not be reached."""
    began = time.monotonic()
    try:
        await resources.mailer.send(mail)
    except MailUnavailable:
        resources.counters.count("mail_unavailable_total")
        raise
    finally:
        resources.counters.observe("mail_seconds", time.monotonic() - began)


async def _record_state(run: MailRun, claimed: ClaimedMail, state: MailState, error: Exception | None = None) -> None:
    values = (run.kind, run.shop_id, claimed, state, str(error) if error else None, _provider(run))
    async with run.resources.db.transaction() as session:
        await outbox.record_state(session, *values)


async def _requeue(run: MailRun, claimed: ClaimedMail, error: Exception) -> None:
    async with run.resources.db.transaction() as session:
        await outbox.requeue(session, run.kind, run.shop_id, claimed, str(error))


def _provider(run: MailRun) -> str:
    return mail_provider(run.settings.mail_url)
