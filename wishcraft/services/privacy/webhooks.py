"""Handlers of Shopify's webhooks about privacy: `customers/redact` and `shop/redact`.

They are handled also after the shop has uninstalled the app.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.resources import Resources
from wishcraft.services.privacy import journal
from wishcraft.services.privacy.erase import Erasure, details_of, erase_shop
from wishcraft.services.privacy.journal import Entry, entry_name
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.webhooks.handling import Effect, Message
from wishcraft.shopify.privacy_payloads import read_subject, require_shop
from wishcraft.store import audit_log, shop_erasure, webhook_inbox
from wishcraft.store.shops import ShopRef

REDACT_CUSTOMER: Final = "customers/redact"
REDACT_SHOP: Final = "shop/redact"
AFTER_UNINSTALLING: Final = timedelta(hours=49)
"""Shopify sends `shop/redact` 48 hours and some minutes after that: a shop in use must not be erased."""


async def handle_customer_redactions(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Erase the people of `customers/redact`, and the webhooks' own payloads.

    Raises:
        PayloadInvalid: As `read_subject`.
        ConfigurationError: The journal cannot be written.
    """
    subjects = [read_subject(each.payload, shop.id, shop.domain, "orders_to_redact") for each in messages]
    signs = [each.signs for each in subjects]
    erasure, now = Erasure(resources, shop, [each.person for each in subjects], signs=signs), datetime.now(UTC)
    await erasure.look_up()
    await journal.add(
        resources.files,
        [
            Entry(entry_name(each.received_at, each.id), each.topic, shop.domain, shop.id, now, person)
            for each, person in zip(messages, erasure.people, strict=True)
        ],
    )
    await erasure.delete_files()

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        for each, counts in zip(messages, await erasure.apply(write), strict=True):
            await audit_log.record(write.session, write.actor, each.topic, "webhook", str(each.id), details_of(counts))
        await webhook_inbox.erase_own_payloads(write.session, [each.id for each in messages])
        return {}

    return Effect(erasure.registry_ids, apply, after_commit=erasure.forget)


async def handle_shop_redactions(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Erase the shop, unless the app was installed anew since it was uninstalled.

    Raises:
        PayloadInvalid: The payload names another shop.
        ConfigurationError: The journal cannot be written.
        CacheUnavailable: Redis does not answer.
    """
    for each in messages:
        require_shop(each.payload, shop.domain)
    ids = [each.id for each in messages]
    last = max(each.triggered_at or each.received_at for each in messages)
    async with resources.db.autocommit() as session:
        is_back = await shop_erasure.is_later_installation(session, shop.id, last - AFTER_UNINSTALLING)
    if not is_back:
        name, now = entry_name(messages[0].received_at, ids[0]), datetime.now(UTC)
        await journal.add(resources.files, [Entry(name, messages[0].topic, shop.domain, shop.id, now, None)])
        await erase_shop(resources, shop, kept=ids)

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        await webhook_inbox.erase_own_payloads(write.session, ids)
        if is_back:
            return dict.fromkeys(ids, WebhookOutcome.IGNORED)
        for each in messages:
            await audit_log.record(write.session, write.actor, each.topic, "webhook", str(each.id))
        await shop_erasure.delete_shop(write.session, shop.id)
        return {}

    return Effect(frozenset(), apply)
