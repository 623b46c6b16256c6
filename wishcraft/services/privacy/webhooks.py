"""Handlers of Shopify's webhooks about privacy: `customers/redact` and `shop/redact`.

They are handled also after the shop has uninstalled the app. Each try does a part of the work, which is committed;
before the next one, other webhooks of the shop have their turn. So it ends at any size.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import DecisionNeeded
from wishcraft.resources import Resources
from wishcraft.services.privacy import journal
from wishcraft.services.privacy.erase import (
    Erasure,
    delete_late_keys,
    delete_shop,
    details_of,
    erase_shop,
    hold_shop,
    work_for,
)
from wishcraft.services.privacy.journal import JournalEntry, entry_name
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.shops.webhooks import IS_IT_INSTALLED, accepts_token
from wishcraft.services.webhooks.handler_protocol import Effect, Message, change_nothing
from wishcraft.shopify.privacy_payloads import read_subject, require_whole_shop
from wishcraft.store import audit_log, shop_erasure, webhook_payloads
from wishcraft.store.shops import ShopRef

TRY_SECONDS: Final = 10.0
"""For steps of a try: much less than what lets other consumers take its webhooks over."""
MAX_PEOPLE_PER_BATCH: Final = 10
"""People who are erased in one transaction: for each, all rows of the shop are compared."""


async def handle_customer_redactions(
    resources: Resources,
    shop: ShopRef,
    messages: Sequence[Message],
    *,
    try_seconds: float = TRY_SECONDS,
    max_people: int = MAX_PEOPLE_PER_BATCH,
) -> Effect:
    """Erase the people of `customers/redact`, and the webhooks' own payloads.

    Raises:
        PayloadInvalid: As `read_subject`.
        ConfigurationError: The journal cannot be written.
        RegistriesChanged: Raised by the effect, as `Erasure.apply`.
    """
    subjects = [read_subject(each.payload, shop.id, shop.domain, "orders_to_redact") for each in messages]
    later = frozenset(each.id for each in messages[max_people:])
    messages, subjects = messages[:max_people], subjects[:max_people]
    ids = [each.id for each in messages]
    signs = [each.signs for each in subjects]
    erasure = Erasure(resources, shop, [each.person for each in subjects], signs=signs, webhooks=ids)
    await erasure.look_up()
    now = datetime.now(UTC)
    entries = [
        JournalEntry(entry_name(each.received_at, each.id), each.topic, shop.domain, shop.id, now, person)
        for each, person in zip(messages, erasure.people, strict=True)
    ]
    if [await journal.find_person(resources.files, each.name) for each in entries] != erasure.people:
        # A merge has added ids since the last try, which searched without them: this one begins again.
        async with resources.db.transaction() as session:
            await webhook_payloads.reset_searched(session, ids)
    await journal.add(resources.files, entries)
    if not await work_for(try_seconds, erasure.search()):
        return Effect(frozenset(), change_nothing, unfinished=later.union(ids))
    await erasure.delete_files()

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        for each, counts in zip(messages, await erasure.apply(write), strict=True):
            await audit_log.record(write.session, write.actor, each.topic, "webhook", str(each.id), details_of(counts))
        await webhook_payloads.erase_own_payloads(write.session, ids)
        return {}

    return Effect(erasure.registry_ids, apply, after_commit=erasure.delete_cached, unfinished=later)


async def handle_shop_redactions(
    resources: Resources, shop: ShopRef, messages: Sequence[Message], *, try_seconds: float = TRY_SECONDS
) -> Effect:
    """Erase the shop, unless it has the app: it may have installed it again.

    Raises:
        PayloadInvalid: As `require_whole_shop`.
        DecisionNeeded: It cannot be said whether the shop has the app.
        ConfigurationError: The journal cannot be written.
        CacheUnavailable: Redis does not answer.
        ShopifyUnavailable, ShopifyThrottled: As `ShopifyClient.query`.
    """
    for each in messages:
        require_whole_shop(each.payload, shop.domain)
    ids = [each.id for each in messages]
    names = [entry_name(each.received_at, each.id) for each in messages]
    now = datetime.now(UTC)  # before it is asked: a later installation is later than the entry
    if is_gone := await _ends_installation(resources, shop):
        await journal.add(resources.files, [JournalEntry(names[0], messages[0].topic, shop.domain, shop.id, now, None)])
        if not await work_for(try_seconds, erase_shop(resources, shop, kept=ids)):
            return Effect(frozenset(), change_nothing, unfinished=frozenset(ids))

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        await webhook_payloads.erase_own_payloads(write.session, ids)
        if not is_gone or not await hold_shop(write):  # one that has left only now is erased by the next webhook
            await journal.remove(resources.files, names)  # before the commit: no replay may erase the shop then
            return dict.fromkeys(ids, WebhookOutcome.IGNORED)
        for each in messages:
            await audit_log.record(write.session, write.actor, each.topic, "webhook", str(each.id))
        await delete_shop(write)
        return {}

    return Effect(frozenset(), apply, after_commit=partial(delete_late_keys, resources, shop))


async def _ends_installation(resources: Resources, shop: ShopRef) -> bool:
    """Let the shop count as one without the app, unless it has it: then Shopify accepts the app's token."""
    async with resources.db.autocommit() as session:
        state = await shop_erasure.find_installation(session, shop.id)
    if state is None or not state.is_active:
        return True
    if await accepts_token(resources, shop):
        return False
    if state.uninstalled_at and state.installed_at > state.uninstalled_at:
        raise DecisionNeeded(IS_IT_INSTALLED)
    async with resources.db.transaction() as session:
        await shop_erasure.end_installation(session, shop.id, state.installed_at)
    return True
