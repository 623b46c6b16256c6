"""Handles webhooks of one shop: their effects and their outcomes in the inbox are one transaction."""

import asyncio
import logging
import random
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import orjson

from wishcraft.domain.mail_events import TOPIC as MAIL_EVENTS
from wishcraft.domain.webhooks import (
    COMPLIANCE_TOPICS,
    DATA_REQUEST,
    LASTING_TOPICS,
    MAX_ATTEMPTS,
    MERGE,
    PATIENCE,
    REDACT_CUSTOMER,
    REDACT_SHOP,
    WebhookOutcome,
    retry_delay,
    wait_delay,
)
from wishcraft.errors import (
    CacheUnavailable,
    DatabaseUnavailable,
    DecisionNeeded,
    MailAcceptanceUnknown,
    MailUnavailable,
    PayloadInvalid,
    ShopifyThrottled,
    ShopifyUnavailable,
    TransientError,
    in_words,
)
from wishcraft.resources import Resources
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.handler_protocol import Effect, Handler, Message, TakenByAnotherError
from wishcraft.store import shops, webhook_inbox
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import InstalledShop, ShopRef
from wishcraft.store.webhook_inbox import Failure, StoredWebhook

ACTOR: Final = "webhook"
HANDLER_SECONDS: Final = 20.0
"""How long a handler may look things up, in Shopify above all."""
COMPLIANCE_SECONDS: Final = 600.0
"""How long one about privacy may, which does a part of its work in much less, and the rest at the next tries."""
BATCH_BYTES: Final = 2 * 1024 * 1024
"""Of payloads in one transaction: parsed, they take five times as much memory, for each shop under way."""
_log: Final = logging.getLogger(__name__)


async def process(
    resources: Resources,
    handlers: Mapping[str, Handler],
    shop_domain: str,
    ids: Sequence[int],
    *,
    handler_seconds: float = HANDLER_SECONDS,
    batch_bytes: int = BATCH_BYTES,
) -> dict[WebhookOutcome | None, int]:
    """Handle these webhooks of the shop; those that are handled, or that another consumer has locked, are left alone.

    If the batch fails, each half is handled on its own, down to the webhook that fails: it is tried again later, or
    becomes a dead letter, and holds up no other.

    Returns:
        How many have each outcome; under None those that are tried again.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; what is not recorded will be delivered again.
    """
    counts = Counter[WebhookOutcome | None]()
    left = sorted(ids)
    while left:
        async with resources.db.autocommit() as session:
            waiting = await webhook_inbox.find_waiting(session, shop_domain, left, batch_bytes)
            found = await shops.find_installed(session, shop_domain)
        counts += await _process(resources, handlers, found, waiting, handler_seconds)
        left = [each for each in left if waiting and each > waiting[-1].id]
    return dict(counts)


async def _process(
    resources: Resources,
    handlers: Mapping[str, Handler],
    found: InstalledShop | None,
    waiting: Sequence[StoredWebhook],
    handler_seconds: float,
) -> Counter[WebhookOutcome | None]:
    """Handle these webhooks of the shop. `found` is None if the app does not know the shop."""
    batch, outcomes, failures = list[Message](), dict[int, WebhookOutcome](), list[Failure]()
    counts = Counter[WebhookOutcome | None]()
    for stored in waiting:
        is_ignored = found is None or not (found.is_active or stored.topic in LASTING_TOPICS)
        if is_ignored or stored.topic not in handlers:
            outcomes[stored.id] = WebhookOutcome.IGNORED
            continue
        try:
            batch.append(_read(stored))
        except PayloadInvalid as error:
            failures.append(Failure(stored.id, str(error), None))
    if outcomes or failures:
        async with resources.db.transaction() as session:
            await webhook_inbox.record_outcomes(session, outcomes)
            await webhook_inbox.record_failures(session, failures)
    if found and batch:
        attempts = {stored.id: stored.attempts for stored in waiting}
        run = _Run(resources, handlers, found.shop, attempts, handler_seconds)
        for part in _parts(batch):
            if run.is_mail_down and part[0].topic == DATA_REQUEST:
                await run.put_off(part[0])
            else:
                await run.handle(part)
        outcomes |= run.outcomes
        failures += run.failures
        counts[None] = len(run.unfinished)
    counts.update(outcomes.values())
    counts.update(WebhookOutcome.DEAD if each.due_at is None else None for each in failures)
    return counts


def _parts(batch: Sequence[Message]) -> Iterator[list[Message]]:
    """Divide the batch into parts that are handled one after the other.

    Mail events come first: addresses are suppressed within seconds, while others may wait for Shopify. Merges lock
    customers, and so have no part with what locks registries and orders, after which customers are locked. Erasures
    find what the others write. Data requests are handled one by one: one that fails holds up no other.
    """
    mails = [each for each in batch if each.topic == MAIL_EVENTS]
    ordinary = [each for each in batch if each.topic not in (MAIL_EVENTS, MERGE, *COMPLIANCE_TOPICS)]
    later = ([each for each in batch if each.topic == topic] for topic in (MERGE, REDACT_CUSTOMER, REDACT_SHOP))
    requests = ([each] for each in batch if each.topic == DATA_REQUEST)
    yield from filter(None, (mails, ordinary, *later, *requests))


def _read(stored: StoredWebhook) -> Message:
    """The message, with its payload as an object.

    Raises:
        PayloadInvalid: The payload is not a JSON object.
    """
    try:
        payload = orjson.loads(stored.payload or b"")
    except orjson.JSONDecodeError:
        raise PayloadInvalid("The payload is not JSON.") from None
    if not isinstance(payload, dict):
        raise PayloadInvalid("The payload is not a JSON object.")
    return Message(stored.id, stored.topic, stored.triggered_at, stored.received_at, payload)


@dataclass(slots=True)
class _Run:
    """Handles webhooks of a shop, and collects what was recorded of them."""

    resources: Resources
    handlers: Mapping[str, Handler]
    shop: ShopRef
    attempts: Mapping[int, int]
    """Failed tries before, by id."""
    handler_seconds: float
    outcomes: dict[int, WebhookOutcome] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    unfinished: set[int] = field(default_factory=set)
    is_mail_down: bool = False
    """The mail server did not answer: each further try would wait for it, and hold up other shops' webhooks."""

    async def handle(self, batch: Sequence[Message]) -> None:
        """Handle the messages in one transaction, or each half in its own.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        try:
            await self._apply(batch)
        except TakenByAnotherError:
            if len(batch) == 1:
                return
        except Exception as error:  # noqa: BLE001  it is recorded with the webhooks
            if isinstance(error, DatabaseUnavailable):
                await _require_database(self.resources, error)
            self.is_mail_down |= isinstance(error, MailUnavailable | MailAcceptanceUnknown)
            if len(batch) == 1:
                failed = [self._failure(batch[0], error)]
                async with self.resources.db.transaction() as session:
                    await webhook_inbox.record_failures(session, failed)
                self.failures.extend(failed)
                return
        else:
            return
        middle = len(batch) // 2
        await self.handle(batch[:middle])
        await self.handle(batch[middle:])

    async def put_off(self, request: Message) -> None:
        """Let a data request fail without a try, as one for which the mail server does not answer.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        failed = [self._failure(request, MailUnavailable("It did not answer for another request"))]
        async with self.resources.db.transaction() as session:
            if not await webhook_inbox.lock_if_due(session, request.id, timedelta(0)):
                return
            await webhook_inbox.record_failures(session, failed)
        self.failures.extend(failed)

    async def _apply(self, batch: Sequence[Message]) -> None:
        effects, failed = await self._look_up(batch)
        registry_ids = sorted({registry_id for effect in effects for registry_id in effect.registry_ids})
        outcomes = {message.id: WebhookOutcome.APPLIED for message in batch}
        actor = Actor(self.shop.id, ACTOR)
        async with registry_write(self.resources, actor, registry_ids, on_cache_down="announce") as write:
            if await webhook_inbox.lock_waiting(write.session, list(outcomes)) != outcomes.keys():
                raise TakenByAnotherError
            for effect in effects:
                outcomes |= await effect.apply(write)
            failures = [self._failure(message, failed.pop(message.id)) for message in batch if message.id in failed]
            unfinished = {each for effect in effects for each in effect.unfinished}
            for each in (*(failure.id for failure in failures), *unfinished):
                del outcomes[each]
            await webhook_inbox.postpone(write.session, unfinished)
            await webhook_inbox.record_outcomes(write.session, outcomes)
            await webhook_inbox.record_failures(write.session, failures)
        self.outcomes.update(outcomes)
        self.failures.extend(failures)
        self.unfinished.update(unfinished)
        for effect in effects:
            await _after_commit(effect)

    async def _look_up(self, batch: Sequence[Message]) -> tuple[list[Effect], dict[int, Exception]]:
        """The effects of the messages, and what keeps single messages from being handled now.

        A handler that Shopify does not answer, or that takes too long, is not asked again for each half of the batch.
        """
        grouped: dict[Handler, list[Message]] = {}
        for message in batch:
            grouped.setdefault(self.handlers[message.topic], []).append(message)
        effects, failed = list[Effect](), dict[int, Exception]()
        for handler, messages in grouped.items():
            try:
                async with asyncio.timeout(
                    COMPLIANCE_SECONDS if messages[0].topic in COMPLIANCE_TOPICS else self.handler_seconds
                ):
                    effect = await handler(self.resources, self.shop, messages)
            except (ShopifyUnavailable, ShopifyThrottled, TimeoutError) as error:
                failed |= {message.id: error for message in messages}
            else:
                effects.append(effect)
                failed |= effect.failed
        return effects, failed

    def _failure(self, message: Message, error: Exception) -> Failure:
        """The reason of a failed try, as recorded: only our own errors' texts are known to have no personal data."""
        if isinstance(error, PayloadInvalid | DecisionNeeded):
            return Failure(message.id, str(error), None)
        now = datetime.now(UTC)
        age = now - message.received_at
        is_outage = isinstance(error, ShopifyUnavailable | ShopifyThrottled | MailUnavailable | CacheUnavailable)
        if is_outage and age < PATIENCE:
            return Failure(message.id, in_words(error), now + wait_delay(age, random.uniform), tries=0)
        tries = self.attempts[message.id] + 1
        if not isinstance(error, TransientError | TimeoutError):
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{in_words(error)} at {Path(place.filename).name}:{place.lineno}"
            _log.error("The webhook %s (%s) could not be handled: %s, try %d", message.id, message.topic, reason, tries)
        due_at = None if tries >= MAX_ATTEMPTS else now + retry_delay(tries, random.uniform)
        return Failure(message.id, in_words(error), due_at)


async def _require_database(resources: Resources, error: DatabaseUnavailable) -> None:
    """Raise the error if PostgreSQL answers no other query either: then it is not the webhooks' own.

    A statement that takes too long, a lock that another transaction holds and a deadlock are errors of the same type.
    """
    try:
        await resources.db.ping()
    except DatabaseUnavailable:
        raise error from None


async def _after_commit(effect: Effect) -> None:
    if effect.after_commit:
        try:
            await effect.after_commit()
        except Exception:  # noqa: BLE001  what is lost expires by itself
            _log.exception("Work after the commit of webhooks failed")
