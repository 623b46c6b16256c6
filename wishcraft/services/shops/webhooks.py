"""Handlers of the webhooks `app/uninstalled` and `shop/update`."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Final

from wishcraft.domain.webhooks import WebhookOutcome
from wishcraft.errors import DecisionNeeded, PayloadInvalid, ShopifyRefused, ShopifyUnauthorized, ShopifyUncertain
from wishcraft.resources import Resources
from wishcraft.services.registries.write import RegistryWrite
from wishcraft.services.shops.install import drop_cached
from wishcraft.services.shops.settings import replace_outdated_entries
from wishcraft.services.webhooks.handler_protocol import Effect, Message, wait_for_shopify
from wishcraft.shopify.graphql_queries import READ_SHOP
from wishcraft.shopify.shop_facts import read_shop_update
from wishcraft.store import audit_log, shop_erasure, shops
from wishcraft.store.shops import ShopRef

IS_IT_INSTALLED: Final = "Shopify refuses requests for the shop, which counts as installed: is the app installed?"
TOKEN_REVOCATION_DELAY: Final = timedelta(minutes=5)
"""For how long after an uninstallation that Shopify accepts the app's token denies nothing: it may not know yet."""
_log: Final = logging.getLogger(__name__)


async def handle_uninstalled(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Handle `app/uninstalled`: the shop's tokens are deleted, and from then on it counts as not installed.

    An uninstallation that is older than the present installation changes nothing, nor does one that Shopify denies by
    accepting the app's token: the topic is not signed, so the body may be that of another webhook.

    Raises:
        PayloadInvalid: A payload names another shop, or none.
        ShopifyUncertain: Shopify accepts the token, but the webhook came less than `TOKEN_REVOCATION_DELAY` ago.
        DecisionNeeded, ShopifyUnavailable, ShopifyThrottled: As `accepts_token`.
    """
    _require_own(shop, messages)
    latest = max(messages, key=attrgetter("happened_at"))
    async with resources.db.autocommit() as session:
        state = await shop_erasure.find_installation(session, shop.id)
    is_current = state is not None and state.is_active and state.installed_at <= latest.happened_at
    is_denied = is_current and await accepts_token(resources, shop)
    if is_denied and datetime.now(UTC) < latest.received_at + TOKEN_REVOCATION_DELAY:
        raise ShopifyUncertain(f"{shop.domain}: the token is accepted just after the uninstallation")
    if is_denied:
        _log.warning("app/uninstalled of %s is ignored: Shopify accepts the app's token", shop.domain)

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        outcomes = {message.id: WebhookOutcome.IGNORED for message in messages}
        if not is_denied and await shops.uninstall(write.session, shop.id, latest.happened_at):
            await audit_log.record(write.session, write.actor, "app.uninstalled", "shop", str(shop.id))
            outcomes[latest.id] = WebhookOutcome.APPLIED
        return outcomes

    return Effect(frozenset(), apply, after_commit=partial(drop_cached_unless_active, resources, shop))


async def handle_shop_update(resources: Resources, shop: ShopRef, messages: Sequence[Message]) -> Effect:
    """Handle `shop/update`: name, e-mail address, currency and time zone follow, in any order of arrival.

    If one of them cannot be used, the others are stored, and the webhook becomes a dead letter that says which.

    Raises:
        PayloadInvalid: As `read_shop_update`, or a payload names another shop, or none.
    """
    _require_own(shop, messages)
    updates = [(read_shop_update(message.payload), message) for message in messages]
    updates.sort(key=lambda each: (each[0].since, each[1].happened_at))
    update, newest = updates[-1]
    facts = {name: value for each, _ in updates for name, value in each.facts.items()}
    failed = {}
    if update.problems:
        failed[newest.id] = PayloadInvalid(f"Only a part was stored: {', and '.join(update.problems)}.")

    async def apply(write: RegistryWrite) -> Mapping[int, WebhookOutcome]:
        outcomes = {message.id: WebhookOutcome.IGNORED for message in messages}
        if await shops.update_facts(write.session, shop.id, facts, update.since):
            outcomes[newest.id] = WebhookOutcome.APPLIED
        return outcomes

    async def after_commit() -> None:
        await replace_outdated_entries(resources, shop.id)

    return Effect(frozenset(), apply, failed, after_commit)


async def accepts_token(resources: Resources, shop: ShopRef) -> bool:
    """Whether Shopify accepts the app's token of the shop, which an uninstallation ends.

    Raises:
        DecisionNeeded: Shopify refuses for another reason.
        ShopifyUnavailable, ShopifyThrottled: As `ShopifyClient.query`, and `wait_for_shopify`.
    """
    try:
        await wait_for_shopify(resources.shopify.query(shop.domain, READ_SHOP, {}))
    except ShopifyUnauthorized:
        return False
    except ShopifyRefused:
        raise DecisionNeeded(IS_IT_INSTALLED) from None
    return True


async def drop_cached_unless_active(resources: Resources, shop: ShopRef) -> None:
    """Drop what Redis has of the shop, if it is not installed now."""
    async with resources.db.autocommit() as session:
        is_active = await shops.find_by_domain(session, shop.domain) is not None
    if not is_active:
        await drop_cached(resources, shop)


def _require_own(shop: ShopRef, messages: Sequence[Message]) -> None:
    """Shopify signs the body, and not the header that names the shop: a body that names none may be about anything."""
    if any(message.payload.get("myshopify_domain") != shop.domain for message in messages):
        raise PayloadInvalid("The payload names another shop than the header, or none.")
