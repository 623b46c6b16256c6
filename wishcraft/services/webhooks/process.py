"""Handles webhooks of one shop: their effects and their outcomes in the inbox are one transaction."""

import logging
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from sqlalchemy import text

from wishcraft.domain.webhooks import MAX_ATTEMPTS, WebhookOutcome, retry_delay
from wishcraft.errors import (
    DatabaseUnavailable,
    PayloadInvalid,
    ShopifyThrottled,
    ShopifyUnavailable,
    TransientError,
    UnknownShop,
)
from wishcraft.resources import Resources
from wishcraft.services.registries.write import registry_write
from wishcraft.services.webhooks.handling import Effect, Handler, Message
from wishcraft.store import shops, webhook_events
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef
from wishcraft.store.webhook_events import Failure, StoredWebhook

ACTOR: Final = "webhook"
_log: Final = logging.getLogger(__name__)


class _TakenByAnotherError(Exception):
    """Another consumer handles some of the batch."""


async def process(
    resources: Resources, handlers: Mapping[str, Handler], shop_domain: str, ids: Sequence[int]
) -> dict[WebhookOutcome | None, int]:
    """Handle these webhooks of the shop; those that are handled, or that another consumer has locked, are left alone.

    If the batch fails, each half is handled on its own, down to the webhook that fails: it is tried again later, or
    becomes a dead letter, and holds up no other.

    Returns:
        How many have each outcome; under None those that are tried again.

    Raises:
        DatabaseUnavailable: PostgreSQL does not answer; what is not recorded will be delivered again.
    """
    async with resources.db.autocommit() as session:
        waiting = await webhook_events.find_waiting(session, ids)
        shop = await _find_shop(session, shop_domain)
    batch, outcomes, failures = list[Message](), dict[int, WebhookOutcome](), list[Failure]()
    for stored in waiting:
        if shop is None or stored.topic not in handlers:
            outcomes[stored.id] = WebhookOutcome.IGNORED
            continue
        try:
            batch.append(_read(stored))
        except PayloadInvalid as error:
            failures.append(Failure(stored.id, str(error), None))
    attempts = {stored.id: stored.attempts for stored in waiting}
    if outcomes or failures:
        async with resources.db.transaction() as session:
            await webhook_events.record_outcomes(session, outcomes)
            if failures:
                await webhook_events.record_failures(session, failures)
    if shop and batch:
        outcomes |= await _handle(resources, handlers, shop, batch, attempts, failures)
    counts: dict[WebhookOutcome | None, int] = {}
    for outcome in [*outcomes.values(), *(WebhookOutcome.DEAD if each.due_at is None else None for each in failures)]:
        counts[outcome] = counts.get(outcome, 0) + 1
    return counts


async def _find_shop(session: Any, shop_domain: str) -> ShopRef | None:
    try:
        [shop] = await shops.find_active(session, [shop_domain])
    except UnknownShop:
        return None
    return shop


def _read(stored: StoredWebhook) -> Message:
    """The message, with its payload as an object.

    Raises:
        PayloadInvalid: The payload is no JSON object.
    """
    try:
        payload = orjson.loads(stored.payload or b"")
    except orjson.JSONDecodeError:
        raise PayloadInvalid("The payload is no JSON.") from None
    if not isinstance(payload, dict):
        raise PayloadInvalid("The payload is no JSON object.")
    return Message(stored.id, stored.topic, stored.triggered_at, stored.received_at, payload)


async def _handle(
    resources: Resources,
    handlers: Mapping[str, Handler],
    shop: ShopRef,
    batch: Sequence[Message],
    attempts: Mapping[int, int],
    failures: list[Failure],
) -> dict[int, WebhookOutcome]:
    """Handle the messages in one transaction, or each half in its own; adds those that fail to `failures`."""
    try:
        return await _apply(resources, handlers, shop, batch)
    except _TakenByAnotherError:
        if len(batch) == 1:
            return {}
    except Exception as error:  # noqa: BLE001  it is recorded with the webhooks
        if isinstance(error, DatabaseUnavailable):
            await _require_database(resources, error)
        is_outage = isinstance(error, ShopifyUnavailable | ShopifyThrottled)
        if is_outage or len(batch) == 1:  # each half would ask Shopify again
            failed = [_failure(message, error, attempts[message.id]) for message in batch]
            async with resources.db.transaction() as session:
                await webhook_events.record_failures(session, failed)
            failures += failed
            return {}
    middle = len(batch) // 2
    first = await _handle(resources, handlers, shop, batch[:middle], attempts, failures)
    return first | await _handle(resources, handlers, shop, batch[middle:], attempts, failures)


async def _require_database(resources: Resources, error: DatabaseUnavailable) -> None:
    """Raise the error if PostgreSQL answers no other query either: then it is not the webhooks' own.

    A statement that takes too long, a lock that another transaction holds and a deadlock are errors of the same type.
    """
    try:
        async with resources.db.autocommit() as session:
            await session.execute(text("SELECT 1"))
    except DatabaseUnavailable:
        raise error from None


def _failure(message: Message, error: Exception, attempts: int) -> Failure:
    """What is recorded of a failed try: only our own errors' texts are known to have no personal data."""
    if isinstance(error, PayloadInvalid):
        return Failure(message.id, str(error), None)
    if not isinstance(error, TransientError):
        _log.error("A webhook %s could not be handled", message.topic, exc_info=error)
    tries = attempts + 1
    due_at = None if tries >= MAX_ATTEMPTS else datetime.now(UTC) + retry_delay(tries, random.uniform)
    return Failure(message.id, type(error).__name__, due_at)


async def _apply(
    resources: Resources, handlers: Mapping[str, Handler], shop: ShopRef, batch: Sequence[Message]
) -> dict[int, WebhookOutcome]:
    grouped: dict[Handler, list[Message]] = {}
    for message in batch:
        grouped.setdefault(handlers[message.topic], []).append(message)
    effects = [await handler(resources, shop, messages) for handler, messages in grouped.items()]
    registry_ids = sorted({registry_id for effect in effects for registry_id in effect.registry_ids})
    outcomes = {message.id: WebhookOutcome.APPLIED for message in batch}
    actor = Actor(shop.id, ACTOR)
    async with registry_write(resources, actor, registry_ids, on_cache_down="announce") as write:
        if await webhook_events.lock_waiting(write.session, list(outcomes)) != outcomes.keys():
            raise _TakenByAnotherError
        for effect in effects:
            outcomes |= await effect.apply(write)
        await webhook_events.record_outcomes(write.session, outcomes)
    for effect in effects:
        await _after_commit(effect)
    return outcomes


async def _after_commit(effect: Effect) -> None:
    if effect.after_commit:
        try:
            await effect.after_commit()
        except Exception:  # noqa: BLE001  what is lost expires by itself
            _log.exception("Work after the commit of webhooks failed")
