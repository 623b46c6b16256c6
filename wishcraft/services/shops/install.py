"""Installs the app in a shop: exchanges an ID token of its admin for tokens, reads the shop and stores it."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, NamedTuple

import httpx

from wishcraft.domain.cached_registry import Quota
from wishcraft.errors import CacheUnavailable, ConfigurationError, in_words
from wishcraft.resources import Resources
from wishcraft.services.operations.prefect_api import start_run
from wishcraft.settings import Settings
from wishcraft.shopify.id_tokens import AdminIdentity
from wishcraft.shopify.shop_facts import read_shop
from wishcraft.store import audit_log, shops
from wishcraft.store.audit_log import Actor
from wishcraft.store.shops import ShopRef

FIRST_RUNS: Final = ("sync-inventory", "cache-warm", "reconcile-orders")
"""The jobs that a new shop does not wait for until they are due."""
_NOTHING: Final = Quota(0, 0)
_log: Final = logging.getLogger(__name__)


class Installation(NamedTuple):
    """A shop that has the app, and since when."""

    shop: ShopRef
    installed_at: datetime


OnInstalled = Callable[[Installation], Awaitable[None]]


async def ensure_installed(
    resources: Resources,
    identity: AdminIdentity,
    id_token: str,
    *,
    on_installed: OnInstalled,
    is_renewal: bool,
) -> ShopRef:
    """The shop of this admin; installs the app unless it is installed and its token can be renewed.

    Concurrent calls exchange once: the others wait, and find the shop.

    Args:
        resources: The stores and Shopify.
        identity: What the ID token proves.
        id_token: As App Bridge issued it; only Shopify and this call get it.
        on_installed: Called once the app is stored as installed in a shop that had not installed it before.
        is_renewal: Exchange also if the shop is installed, unless that happened after the ID token was issued. The
            shop may have uninstalled the app and installed it again, before the webhook of the former has come.

    Raises:
        IdTokenRefused: The ID token is too old.
        ShopifyUnauthorized: Shopify gives no token, since the app is not installed in the shop; or the app was
            uninstalled after the ID token was issued.
        ShopifyForbidden, ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: As `ShopifyClient.query`.
    """
    since = identity.issued_at if is_renewal else None
    if shop := await _find(resources, identity.shop, since):
        return shop
    async with resources.tokens.refresh_lock(identity.shop):
        if shop := await _find(resources, identity.shop, since):
            return shop
        token = await resources.shopify.exchange_id_token(identity.shop, id_token)
        # Before its first use, which ends the token that is stored: if what follows fails, jobs have this one.
        await resources.tokens.save(identity.shop, token)
        described = await read_shop(resources.shopify, identity.shop, token)
        async with resources.db.transaction() as session:
            columns = resources.tokens.columns(token)
            facts, at = described.facts, identity.issued_at  # the app was installed then, by Shopify's clock
            shop, is_new = await shops.install(session, identity.shop, facts, described.plan, columns, at)
            if is_new:
                actor = Actor(shop.id, f"admin:{shop.id}:{identity.user}")
                await audit_log.record(session, actor, "app.installed", "shop", str(shop.id))
    if is_new:
        await drop_cached(resources, shop)  # what a time before an uninstallation may have left
        await on_installed(Installation(shop, at))
    return shop


async def _find(resources: Resources, domain: str, since: datetime | None) -> ShopRef | None:
    async with resources.db.autocommit() as session:
        return await shops.find_authorised(session, domain, since)


async def drop_cached(resources: Resources, shop: ShopRef) -> None:
    """Drop what Redis has of the shop's registries and variants, and whether complaints pause its mail.

    Without Redis, the former expires by itself, and the latter ends when Redis is back.
    """
    resources.counters.delete("mail_paused", shop=shop.domain)
    with suppress(CacheUnavailable):
        await resources.cache.trim(shop.id, _NOTHING)


async def start_first_runs(resources: Resources, settings: Settings, installed: Installation) -> None:
    """Start the first sync and the first warm of the shop. If Prefect does not, they run when they are due."""
    for job in FIRST_RUNS:
        key = f"installed-{installed.shop.id}-{installed.installed_at.isoformat()}-{job}"
        try:
            await start_run(resources.http, settings, job, {"shops": [installed.shop.domain]}, key)
        except (httpx.HTTPError, ConfigurationError) as error:
            reason = str(error) if isinstance(error, ConfigurationError) else in_words(error)
            _log.warning("%s could not be started for a new shop, and runs when it is due: %s", job, reason)
