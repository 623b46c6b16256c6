"""Reads and changes shops' `ShopSettings` (`wishcraft/store/schema/shop_settings.py`), and what follows from a change.

Jobs read settings when they begin with a shop, requests when they need them. Nothing caches them, except the registry
page: its colour and language follow within 30 s (`CACHE_SECONDS` in `api/auth/authenticator.py`).
"""

from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from wishcraft.domain.batches import batches
from wishcraft.domain.etags import allows_change, make_etag
from wishcraft.domain.inventory import quantities_between
from wishcraft.errors import CacheUnavailable, Invalid, InvalidValue, changed_since
from wishcraft.invalid_values import explain
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Checkpoint, no_checkpoint
from wishcraft.services.registries.write import replace_entries
from wishcraft.store import audit_log, locks, registry_items, shops
from wishcraft.store.audit_log import Actor
from wishcraft.store.schema import ShopSettings
from wishcraft.store.shops import StoredSettings

BATCH: Final = 200
"""Registries whose entries are replaced at once."""
_DIGEST_SIZE: Final = 8


class SettingsChange(NamedTuple):
    """A shop's settings before and after a change, which may have changed nothing."""

    before: StoredSettings
    after: StoredSettings


def settings_etag(stored: StoredSettings) -> str:
    """The entity tag of a shop's settings."""
    digest = blake2b(stored.settings.model_dump_json().encode(), digest_size=_DIGEST_SIZE).hexdigest()
    return make_etag(stored.version, digest)


async def read_settings(resources: Resources, shop_id: int) -> StoredSettings:
    """Return the settings in use, and their version."""
    async with resources.db.autocommit() as session:
        return await shops.find_stored_settings(session, shop_id, resources.shopify_origin)


async def change_settings(
    resources: Resources,
    actor: Actor,
    changes: Mapping[str, Any],
    *,
    if_match: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> SettingsChange:
    """Set the settings in `changes`; the others keep their values.

    The cache follows a lower quota at once. Call `replace_outdated_entries` afterwards: what registries
    show depends on the threshold and the share link.

    Args:
        resources: The stores.
        actor: The shop, and who changes the settings.
        changes: New values by name.
        if_match: The value of If-Match; None makes the change unconditional.
        details: Further values of the audit log entry.

    Raises:
        Invalid: A setting is unknown or its value is not allowed; nothing changed.
        PreconditionFailed: The settings' ETag is not `if_match`; nothing changed.
    """
    shop_id = actor.shop_id
    after = _apply(await read_settings(resources, shop_id), changes, if_match)
    with suppress(CacheUnavailable):  # the next fill evicts what is over the quota
        await resources.cache.trim(shop_id, after.cache_quota)
    async with resources.db.transaction() as session:
        before = await shops.find_stored_settings(session, shop_id, resources.shopify_origin, lock=True)
        after = _apply(before, changes, if_match)
        changed = [name for name in ShopSettings.model_fields if getattr(before.settings, name) != getattr(after, name)]
        if not changed:
            return SettingsChange(before, before)
        quantities = quantities_between(before.settings.low_stock_threshold, after.low_stock_threshold)
        version = await shops.update_settings(session, shop_id, after, quantities, outdate_all="share_url" in changed)
        values = {
            "before": before.settings.model_dump(include=set(changed)),
            "after": after.model_dump(include=set(changed)),
        }
        await audit_log.record(session, actor, "settings.changed", "shop", str(shop_id), values | dict(details or {}))
    return SettingsChange(before, before._replace(settings=after, version=version))


def _apply(stored: StoredSettings, changes: Mapping[str, Any], if_match: str | None) -> ShopSettings:
    if if_match is not None and not allows_change(if_match, stored.version):
        raise changed_since("The settings have", "them")
    try:
        return ShopSettings.model_validate(stored.settings.model_dump() | dict(changes))
    except ValidationError as error:
        known = list(ShopSettings.model_fields)
        problems = [("/".join(map(str, each["loc"])), explain(each, known)) for each in error.errors()]
        message = "; ".join(f"{name}: {detail}" for name, detail in problems)
        raise Invalid(message, *(InvalidValue(detail, pointer=f"#/{name}") for name, detail in problems)) from None


async def replace_outdated_entries(
    resources: Resources, shop_id: int, checkpoint: Checkpoint = no_checkpoint, *, batch_size: int = BATCH
) -> int:
    """Replace the cache entries of the registries that a new threshold or share link changed; how many registries.

    Their versions stay, so that an edit under way is not refused (decision 13); the digest in the ETag informs readers.
    PostgreSQL knows what is left to do, so after a failure any later call does the rest; `check-invariants` makes one.

    Raises:
        CacheUnavailable: Redis does not answer, so that nothing can be invalidated.
        RunStopped: Raised by the checkpoint.
    """
    if not await has_outdated_entries(resources, shop_id):
        return 0
    replaced = 0
    async with locks.acquire(resources.db, "stock-levels", shop_id):
        while True:
            async with resources.db.repeatable_read() as session:
                outdated = await shops.find_outdated_stock(session, shop_id)
            if outdated is None:
                return replaced
            async with resources.db.transaction() as session:
                await shops.await_writers(session, shop_id)
            async with resources.db.repeatable_read() as session:
                found = await registry_items.find_showing_stock(session, shop_id, outdated.quantities)
            for number, batch in enumerate(batches(found, batch_size)):
                await checkpoint(number * batch_size, len(found))
                await replace_entries(resources, shop_id, dict(batch))
                replaced += len(batch)
            async with resources.db.transaction() as session:
                await shops.clear_outdated_stock(session, shop_id, outdated.version)


async def has_outdated_entries(resources: Resources, shop_id: int) -> bool:
    """Whether cache entries may still show an earlier threshold or share link."""
    async with resources.db.autocommit() as session:
        return await shops.find_outdated_stock(session, shop_id) is not None
