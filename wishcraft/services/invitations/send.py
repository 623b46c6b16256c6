"""Sends a shop's invitations within the daily limits; the others wait for the next day.

As with reminders, rows are claimed in small batches and sent outside any transaction, and each result is recorded at
once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial

from wishcraft.domain.invitations import Limits, derive_key, hash_token, make_token, within_limits
from wishcraft.domain.mail_references import MailKind
from wishcraft.mail.mailer import Mail
from wishcraft.mail.messages.content import Letterhead
from wishcraft.mail.messages.invitation import InvitationLinks, Invited, compose_invitation
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint, no_checkpoint
from wishcraft.services.mail.references import make_reference
from wishcraft.services.mail.reputation import count_paused, is_paused
from wishcraft.services.mail.send import NO_MAILS, MailRun, find_letterhead, make_mail, send_claimed, send_in_batches
from wishcraft.services.mail.unsubscribe import unsubscribe_link
from wishcraft.settings import Settings
from wishcraft.store import invitations, locks, outbox, suppressions
from wishcraft.store.invitations import ClaimedInvitation
from wishcraft.store.shops import ShopRef


@dataclass(frozen=True, slots=True)
class InvitationRun:
    """The constants of one run over one shop."""

    resources: Resources
    settings: Settings
    shop: ShopRef
    letterhead: Letterhead
    today: date
    """The shop's day: registries whose event is over send no invitation."""
    limits: Limits
    key: bytes
    """Makes the tokens of links."""


async def invite_shop(
    resources: Resources,
    settings: Settings,
    shop: ShopRef,
    *,
    now: datetime,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
) -> dict[str, int]:
    """Send the shop's invitations that wait, as many as the limits permit at `now` (aware).

    A lock lets one run at a time send them; others wait. What a run that was killed leaves is handled as with
    reminders, but a mail is not sent for ever: see `TRIES` and `TRIED_FOR`.

    Returns:
        Counts: those of `remind_shop`, those of `failed` that were `given_up`, and `waiting` because of a limit.

    Raises:
        MailUnavailable, SenderRefused, EveryMailRefused, ConfigurationError, RunStopped: As `remind_shop`.
    """
    changes = Changes() if changes is None else changes
    changes.update(NO_MAILS)
    letterhead, today = await find_letterhead(resources, shop, now)
    limits = limits_of(settings)
    run = InvitationRun(resources, settings, shop, letterhead, today, limits, _derive_key(settings))
    async with locks.acquire(resources.db, outbox.sending_lock(MailKind.INVITATION), shop.id):
        paused = await is_paused(resources, shop)
        async with resources.db.transaction() as session:
            await outbox.settle_accepted(session, MailKind.INVITATION, shop.id)
            if settings.reminder_recovery == "resend":
                await outbox.release_claims(session, MailKind.INVITATION, shop.id)
            given_up = await invitations.give_up(session, shop.id)
        resources.counters.count("mails_total", given_up, outcome="failed")
        changes.update(due=given_up, failed=given_up, given_up=given_up)
        async with resources.db.repeatable_read() as session:
            is_on = shop.settings.email_notifications
            waiting = await invitations.find_waiting(session, shop.id, today) if is_on else []
            if paused:
                count_paused(changes, len(waiting))
                waiting = []
            ids = within_limits(waiting, await invitations.find_recent(session, shop.id), limits)
        await send_in_batches(resources, shop, ids, checkpoint, partial(_send, run, changes))
        async with resources.db.repeatable_read() as session:
            held = await outbox.count_held(session, MailKind.INVITATION, shop.id)
    return {**changes, "held": held, "waiting": len(waiting) - len(ids)}


async def count_waiting(resources: Resources, settings: Settings, shop: ShopRef, *, now: datetime) -> dict[str, int]:
    """Return how many invitations `invite_shop` would send, and how many would wait. Read-only."""
    if not shop.settings.email_notifications:
        return {"due": 0, "waiting": 0}
    _, today = await find_letterhead(resources, shop, now)
    async with resources.db.repeatable_read() as session:
        waiting = await invitations.find_waiting(session, shop.id, today)
        due = within_limits(waiting, await invitations.find_recent(session, shop.id), limits_of(settings))
    return {"due": len(due), "waiting": len(waiting) - len(due)}


def limits_of(settings: Settings) -> Limits:
    """Return the limits that the settings set."""
    return Limits(settings.invitations_per_shop, settings.invitations_per_customer, settings.invitations_per_address)


async def claim_within_limits(run: InvitationRun, ids: Sequence[int]) -> list[tuple[ClaimedInvitation, Mail | None]]:
    """Claim those of these invitations that the limits still permit, each with its mail unless it is suppressed.

    The limits are counted again under a lock that ends with the transaction: the shop's lock may have been lost.
    """
    async with run.resources.db.transaction() as session:
        await suppressions.serialise_claims(session, run.shop.id)
        waiting = await invitations.lock_waiting(session, run.shop.id, run.today, ids)
        chosen = within_limits(waiting, await invitations.find_recent(session, run.shop.id), run.limits)
        tokens = {each: make_token(each, run.key) for each in chosen}
        hashes = {each: hash_token(token) for each, token in tokens.items()}
        claimed = await invitations.claim_batch(session, run.shop.id, hashes)
        # Composed before the commit: if a mail cannot be composed, the claim is rolled back.
        return [(each, None if each.suppressed else _compose(run, each, tokens[each.id])) for each in claimed]


async def _send(run: InvitationRun, changes: Changes, ids: Sequence[int]) -> None:
    letterhead, _ = await find_letterhead(run.resources, run.shop, datetime.now(UTC))
    run = replace(run, letterhead=letterhead)  # a setting may have changed since the run began
    claimed = await claim_within_limits(run, ids)
    mail_run = MailRun(run.resources, run.settings, run.shop.id, MailKind.INVITATION)
    await send_claimed(mail_run, len(claimed), [(each, mail) for each, mail in claimed if mail], changes)
    for each, mail in claimed:
        changes.add_example(
            "registries with invitations" if mail else "suppressed, of registries", str(each.registry_id)
        )


def _compose(run: InvitationRun, claimed: ClaimedInvitation, token: str) -> Mail:
    unsubscribe = unsubscribe_link(run.settings, run.shop.id, claimed.recipient)
    links = InvitationLinks(run.settings.public_link(f"/api/invitations/{token}"), unsubscribe)
    invited = Invited(
        claimed.event_type, claimed.event_date, claimed.first_name, claimed.last_name, claimed.is_to_registrant
    )
    content = compose_invitation(run.letterhead, invited, links)
    reference = make_reference(run.settings, MailKind.INVITATION, run.shop.id, claimed.id)
    return make_mail(claimed, run.letterhead, content, unsubscribe, reference)


def _derive_key(settings: Settings) -> bytes:
    """Derive the key of tokens from the first of ENCRYPTION_KEYS; links are found by a hash, so others work on."""
    return derive_key(settings.encryption_secrets[0])
