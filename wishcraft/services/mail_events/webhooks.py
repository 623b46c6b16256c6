"""The handler of mail events: each mail gets its outcome, and an address that is not to be written to is suppressed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from wishcraft.domain.addresses import address_hash
from wishcraft.domain.mail_events import TOPIC, MailEvent, MailOutcome, latest_outcome
from wishcraft.domain.mail_references import MailKind
from wishcraft.domain.mail_reputation import too_many_refused
from wishcraft.domain.mail_suppressions import REQUESTS, SOFT_BOUNCE_PERIOD, suppression_for
from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import DecisionNeeded, PayloadInvalid
from wishcraft.resources import Resources
from wishcraft.services.mail_events.receive import BY_SMTP
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handler_protocol import Effect, Message
from wishcraft.store import audit_log, locks, mail_events, suppressions, webhook_dead_letters
from wishcraft.store.mail_events import RecordedOutcome
from wishcraft.store.shops import ShopRef

JUDGED_PERIOD: Final = timedelta(hours=24)
"""Bounces of this period are compared with deliveries: a provider that refuses everyone suppresses no address."""
MAX_EVENT_AGE: Final = timedelta(hours=25)
"""How long providers try to deliver an event: an earlier time in one is wrong, and would not be judged."""
TOO_MANY: Final = (
    "Most mails of the last day bounced: is the mail provider at fault? Replay it once the others are delivered, or"
    " discard it."
)


class _Report(NamedTuple):
    """What an event says of a mail."""

    message_id: int
    recipient: str
    """Empty if the mail was deleted with its registry."""
    address_hash: bytes
    recorded: RecordedOutcome
    is_new: bool
    """Whether it is the outcome of the mail now; else it may be of before a lift."""


async def handle_mail_events(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Record outcomes and suppress addresses, in any order of the events and however often they come.

    A hard bounce becomes a dead letter while most mails of all shops bounce, so that a person decides: it counts if it
    is replayed. While most bounce softly, soft bounces are recorded and suppress nothing.

    Raises:
        PayloadInvalid: A payload is not an event of a mail of this shop.
    """
    events = {message.id: _read(message, shop) for message in messages}
    hard, soft = (_with_outcome(events, each) for each in (MailOutcome.BOUNCED, MailOutcome.SOFT_BOUNCED))
    providers = {message.id: str(message.payload.get("provider", "unknown")) for message in messages}
    is_silent = BY_SMTP in providers.values()
    failed = {}
    async with resources.db.autocommit() as session:
        trusts_soft = not await _is_doubtful(session, soft, MailOutcome.SOFT_BOUNCED, is_silent=is_silent)
        trusts_hard = not await _is_doubtful(session, hard, MailOutcome.BOUNCED, is_silent=is_silent)
        if not trusts_hard:
            decided = await webhook_dead_letters.find_decided(session, list(hard), TOO_MANY)
            failed = {message_id: DecisionNeeded(TOO_MANY) for message_id in hard.keys() - decided}
    judged = {message_id: event for message_id, event in events.items() if message_id not in failed}
    outcomes = Counter[tuple[str, MailOutcome]]()

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        changed, reports = set[int](), list[_Report]()
        if hard and trusts_hard:
            await _require_trust(write, hard, is_silent=is_silent)
        for kind in MailKind:
            of_kind = {message_id: each for message_id, each in judged.items() if each.reference.kind is kind}
            if of_kind:
                changed_of_kind, reports_of_kind = await _apply(write, shop.id, kind, of_kind)
                changed |= changed_of_kind
                reports += reports_of_kind
        suppressing = await _suppress(write, shop.id, reports, trusts_soft=trusts_soft)
        outcomes.update((providers[each], found) for each in changed if (found := judged[each].outcome))
        return dict.fromkeys(judged.keys() - changed - suppressing, WebhookOutcome.IGNORED)

    async def count() -> None:
        for provider in {provider for provider, _ in outcomes}:
            for outcome in MailOutcome:  # all of them: then the first one of a kind is an increase, too
                labels = {"shop": shop.domain, "provider": provider, "outcome": outcome.value}
                resources.counters.count("mail_outcomes_total", outcomes[provider, outcome], **labels)

    return Effect(frozenset(), apply, failed, after_commit=count)


def _read(message: Message, shop: ShopRef) -> MailEvent:
    try:
        event = MailEvent.from_json(message.payload)
    except (KeyError, ValueError, TypeError):
        raise PayloadInvalid("The payload is not an event of a mail.") from None
    if event.reference.shop_id != shop.id:
        raise PayloadInvalid("The event is about a mail of another shop.")
    received_at = message.received_at
    return replace(event, occurred_at=min(max(event.occurred_at, received_at - MAX_EVENT_AGE), received_at))


def _with_outcome(events: Mapping[int, MailEvent], outcome: MailOutcome) -> dict[int, MailEvent]:
    return {message_id: event for message_id, event in events.items() if event.outcome is outcome}


async def _require_trust(write: RegistryWrite, hard: Mapping[int, MailEvent], *, is_silent: bool) -> None:
    """Judge hard bounces again, after those of all shops that are handled at once.

    Raises:
        DecisionNeeded: They are doubtful now.
    """
    await locks.serialise(write.session, "hard-bounces")
    if await _is_doubtful(write.session, hard, MailOutcome.BOUNCED, is_silent=is_silent):
        raise DecisionNeeded(TOO_MANY)


async def _is_doubtful(
    session: AsyncSession, bounces: Mapping[int, MailEvent], outcome: MailOutcome, *, is_silent: bool
) -> bool:
    """Whether so many mails have the outcome of these bounces that the provider must be at fault.

    What is handled late is compared with its own day. Hard bounces that were doubted in the last day count, too. If
    the provider is silent about deliveries, a mail that did not bounce counts as delivered.
    """
    if not bounces:
        return False
    now, mails = datetime.now(UTC), {event.reference for event in bounces.values()}
    since = min(now, *(event.occurred_at for event in bounces.values())) - JUDGED_PERIOD
    counts = await mail_events.count_bounces(session, since, outcome)
    is_hard = outcome is MailOutcome.BOUNCED
    doubted = await webhook_dead_letters.count_dead(session, TOPIC, now - JUDGED_PERIOD) if is_hard else 0
    bounced = counts.bounced + doubted + len(mails)
    if not is_silent or not too_many_refused(bounced, counts.delivered):
        return too_many_refused(bounced, counts.delivered)
    return too_many_refused(bounced, await mail_events.count_sent(session, since) - bounced)


async def _apply(
    write: RegistryWrite, shop_id: int, kind: MailKind, events: Mapping[int, MailEvent]
) -> tuple[set[int], list[_Report]]:
    """Record the outcomes of mails of one kind: the ids of the messages that changed one, and what may suppress."""
    row_ids = {event.reference.row_id for event in events.values()}
    mails = await mail_events.lock_mails(write.session, kind, shop_id, row_ids)
    deleted = await mail_events.find_deleted(write.session, kind, shop_id, row_ids - mails.keys())
    newest: dict[int, _Report] = {}
    changed, requests = set[int](), list[_Report]()
    for message_id, event in sorted(events.items(), key=lambda each: each[1].occurred_at):
        outcome, row_id = event.outcome, event.reference.row_id
        mail = mails.get(row_id)
        if outcome and row_id in deleted:
            recorded = RecordedOutcome(outcome, event.occurred_at)
            requests.append(_Report(message_id, "", deleted[row_id], recorded, is_new=False))
        if outcome is None or mail is None:
            continue
        known = newest[row_id].recorded.outcome if row_id in newest else mail.outcome
        is_new = known is None or (outcome is not known and latest_outcome((outcome, known)) is outcome)
        hashed, recorded = address_hash(shop_id, mail.recipient), RecordedOutcome(outcome, event.occurred_at)
        report = _Report(message_id, mail.recipient, hashed, recorded, is_new)
        if is_new:
            newest[row_id] = report
            changed.add(message_id)
        elif outcome in REQUESTS:
            requests.append(report)
    if newest:
        outcomes = {row_id: report.recorded for row_id, report in newest.items()}
        await mail_events.record_outcomes(write.session, kind, shop_id, outcomes)
    return changed, [*newest.values(), *requests]


async def _suppress(write: RegistryWrite, shop_id: int, reports: Sequence[_Report], *, trusts_soft: bool) -> set[int]:
    """Suppress addresses as far as the rules say so; the ids of the messages that did.

    An outcome that the mail has already, or that of a deleted mail, suppresses only if the suppression was not lifted
    since it happened.
    """
    soft = [report.recipient for report in reports if report.recorded.outcome is MailOutcome.SOFT_BOUNCED]
    since = datetime.now(UTC) - SOFT_BOUNCE_PERIOD
    counts = await mail_events.count_soft_bounces(write.session, shop_id, soft, since) if soft and trusts_soft else {}
    suppressing = set[int]()
    # In one order, or two consumers wait for each other.
    for report in sorted(reports, key=attrgetter("address_hash")):
        hashed, (outcome, at) = report.address_hash, report.recorded
        reason = suppression_for(outcome, counts.get(report.recipient, 0))
        if reason is None:
            continue
        if not report.is_new and await suppressions.was_lifted_since(write.session, shop_id, hashed, at):
            continue
        if await suppressions.suppress(write.session, shop_id, hashed, reason):
            suppressing.add(report.message_id)
            details = {"reason": reason.value}
            await audit_log.record(write.session, write.actor, "mail.suppressed", "address", hashed.hex(), details)
    return suppressing
