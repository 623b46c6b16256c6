"""Synchronises the items of a shop's registries with Shopify's variants."""

import logging
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Final, TypeAlias

from wishcraft.cache.variants import MARK_LIFETIME
from wishcraft.domain.batches import batches
from wishcraft.domain.currencies import format_money
from wishcraft.domain.inventory import StockLevel, VariantReading, prefers_bulk, stock_level
from wishcraft.domain.variants import LONG_AGO, VariantFacts, VariantImage
from wishcraft.errors import BulkOperationFailed, CacheUnavailable, ShopClosed, ShopifyRefused
from wishcraft.resources import Resources
from wishcraft.services.checkpoint import Changes, Checkpoint, no_checkpoint
from wishcraft.services.registries.reader import refill
from wishcraft.services.registries.warm import find_due
from wishcraft.services.registries.write import registry_write
from wishcraft.shopify.nodes import MAX_IDS
from wishcraft.shopify.variants import POINTS_PER_VARIANT, bulk_read_variants, read_variants
from wishcraft.store import inventory_levels, item_readings, locks, registries, registry_items, shops
from wishcraft.store.audit_log import Actor
from wishcraft.store.item_readings import ItemChange, Observation, observe
from wishcraft.store.shops import ShopRef

VariantIds: TypeAlias = "array[int]"
"""Sorted variant ids; an array, as a shop may have a million."""
Readings = Mapping[int, VariantReading | None]
"""Shopify's readings by variant id; None for a variant that Shopify has deleted."""
Batch = tuple[datetime, Readings]
"""A time just before Shopify was queried, and the readings."""

LOWEST_RESTORE_RATE: Final = 100
"""Points per second of the smallest plan, assumed while Shopify sends no throttle status.

https://shopify.dev/docs/api/usage/limits
"""
_ACTOR: Final = "sync-inventory"
_TIME_TO_STORE: Final = timedelta(minutes=1)
"""More than it takes to store a batch of readings, with the queries before it: a mark must not expire meanwhile."""
_log: Final = logging.getLogger(__name__)
REFILL_WINDOW: Final = timedelta(hours=1)
"""Age of the changes that a sync checks for a missing refill, as of a killed writer. Cache warming finds older ones."""
REGISTRIES_PER_WRITE: Final = 200
"""Keeps a write far below `WRITE_LIMIT_SECONDS` and its row locks short."""


async def sync_shop(
    resources: Resources,
    shop: ShopRef,
    *,
    dry_run: bool = False,
    checkpoint: Checkpoint = no_checkpoint,
    changes: Changes | None = None,
) -> dict[str, int]:
    """Read every variant in the shop's active registries from Shopify, and write the items that changed.

    The readings also go to the cache of variants, if Redis answers. Idempotent. If another run syncs the shop, this one
    returns at once, as both would spend the shop's query points.

    Args:
        resources: The stores and Shopify.
        shop: The shop to sync.
        dry_run: Write nothing, and count the registries that would change.
        checkpoint: Called between batches.
        changes: Filled with `items_changed` and `registries_touched`, and with the names of variants whose
            availability or price changed, and the ids of registries. Where tries are summed, a registry written in two
            of them counts twice.

    Returns:
        Counts: `variants` read, of them `low_stock`, `out_of_stock` and `deleted`; `unreadable` variants, whose items
        stay as they are; `items_changed`, and the `registries_touched`. Or only `already_being_synced`, or
        `closed_in_Shopify`: the merchant has not paid, or has closed the shop, which fails no run.

    Raises:
        ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: No usable response; earlier batches stay committed.
        CacheUnavailable: Redis does not answer, so a batch cannot be invalidated; it is rolled back.
        RunStopped: Raised by the checkpoint.
    """
    async with locks.try_acquire(resources.db, "sync", shop.id) as locked:
        if not locked:
            return {"already_being_synced": 1}
        if not dry_run:
            await _refill_recent(resources, shop.id)
        started_at = datetime.now(UTC)
        done = Changes() if changes is None else changes
        try:
            counts = await _sync(resources, shop, checkpoint, done, dry_run=dry_run)
            variants_read_at: datetime | None = started_at
        except ShopClosed as error:
            _log.warning("%s is not synced: %s", shop.domain, error)
            counts, variants_read_at = {"closed_in_Shopify": 1}, None
        if not dry_run:
            async with resources.db.transaction() as session:
                await shops.record_sync(session, shop.id, variants_read_at)
        return counts


async def _refill_recent(resources: Resources, shop_id: int) -> None:
    """Refill registries whose writer was killed between its commit and its refill."""
    async with resources.db.repeatable_read() as session:
        changed = await registries.find_versions_changed(session, shop_id, REFILL_WINDOW)
    for batch in batches(changed, REGISTRIES_PER_WRITE):
        try:
            await refill(resources, shop_id, await find_due(resources, shop_id, batch))
        except CacheUnavailable as error:  # a Redis without free memory refuses fills and takes invalidations
            _log.warning("The cache could not be refilled, cache-warm refills it later: %s", error)
            return


async def _sync(
    resources: Resources, shop: ShopRef, checkpoint: Checkpoint, changes: Changes, *, dry_run: bool
) -> dict[str, int]:
    counts = Counter(variants=0, low_stock=0, out_of_stock=0, deleted=0)
    touched: set[int] = set()
    era = b"" if dry_run else await _current_era(resources)
    async with resources.db.repeatable_read() as session:
        variant_ids = await registry_items.find_variants(session, shop.id)
    async for observed_at, readings in _read(resources, shop, variant_ids):
        await checkpoint(counts["variants"], len(variant_ids))
        if era:
            await _store_facts(resources, shop.id, era, readings, observed_at)
        counts.update(variants=len(readings), **_stock_counts(readings, shop.settings.low_stock_threshold))
        observations = [observe(number, reading, observed_at) for number, reading in readings.items()]
        async with resources.db.repeatable_read() as session:
            changed = await item_readings.find_changed_registries(session, shop.id, observations)
        for batch in batches(changed, REGISTRIES_PER_WRITE):
            written = () if dry_run else await _write(resources, shop.id, batch, observations)
            touched.update(batch if dry_run else (each.registry_id for each in written))
            if not dry_run:
                changes["items_changed"] += len(written)
                changes["registries_touched"] = len(touched)
            for each in written:
                _add_examples(each, changes)
            for registry_id in sorted({each.registry_id for each in written}):
                changes.add_example("registries", str(registry_id))
    unreadable = len(variant_ids) - counts["variants"]
    return {
        **counts,
        "items_changed": changes["items_changed"],
        "unreadable": unreadable,
        "registries_touched": len(touched),
    }


async def _current_era(resources: Resources) -> bytes:
    """The era in which the cache of variants takes this run's readings; empty if Redis does not answer."""
    try:
        return await resources.variants.current_era()
    except CacheUnavailable:
        return b""


async def _store_facts(
    resources: Resources, shop_id: int, era: bytes, readings: Readings, observed_at: datetime
) -> None:
    """Put the readings into the cache of variants, within the quota of this moment: a run may take long.

    Their images are those of items, as the sync's queries have none. Readings of a long bulk operation are left out: a
    webhook may have outdated them, whose mark has expired since.
    """
    if datetime.now(UTC) - observed_at >= MARK_LIFETIME - _TIME_TO_STORE:
        return
    async with resources.db.autocommit() as session:
        shop = await shops.find_one(session, shop_id)
        images = await registry_items.find_images(session, shop_id, list(readings))
    facts = {
        number: VariantFacts(reading, observed_at, VariantImage(images[number], LONG_AGO) if number in images else None)
        for number, reading in readings.items()
    }
    try:
        await resources.variants.store(shop_id, era, facts, shop.settings.cache_quota)
    except CacheUnavailable as error:  # a write would fail now; without one, the sync needs no Redis
        _log.warning("Redis took no readings, Shopify is asked for them when they are needed: %s", error)


async def _read(resources: Resources, shop: ShopRef, variant_ids: VariantIds) -> AsyncIterator[Batch]:
    """Yield Shopify's readings of these variants, by id or by a bulk query.

    The first batch is always read by id: its throttle status decides how to read the rest.
    """
    first, rest = variant_ids[:MAX_IDS], variant_ids[MAX_IDS:]
    async for batch in _read_by_id(resources, shop, first):
        yield batch
    read_rest = _read_in_bulk if _is_bulk_better(resources, shop, len(rest)) else _read_by_id
    async for batch in read_rest(resources, shop, rest):
        yield batch


def _is_bulk_better(resources: Resources, shop: ShopRef, variants: int) -> bool:
    points = variants * POINTS_PER_VARIANT
    throttle = resources.shopify.throttle_status(shop.domain)
    if throttle is None:  # the response had no throttle status, though it should
        return prefers_bulk(points, LOWEST_RESTORE_RATE)
    return prefers_bulk(points - throttle.currently_available, throttle.restore_rate)


async def _read_by_id(resources: Resources, shop: ShopRef, variant_ids: VariantIds) -> AsyncIterator[Batch]:
    for ids in batches(variant_ids, MAX_IDS):
        observed_at = datetime.now(UTC)
        yield observed_at, await read_variants(resources.shopify, shop.domain, ids)


async def _read_in_bulk(resources: Resources, shop: ShopRef, variant_ids: VariantIds) -> AsyncIterator[Batch]:
    """Read the shop's whole catalogue, and yield the readings of these variants.

    Those missing in it are read by id: only Shopify's null in answer to an id means that a variant is deleted. So are
    all that are left if the bulk operation fails, or if Shopify starts none for this app.
    """
    observed_at = datetime.now(UTC)
    unseen = bytearray(b"\1") * len(variant_ids)
    readings: dict[int, VariantReading | None] = {}
    try:
        async for reading in bulk_read_variants(resources.shopify, shop.domain):
            index = bisect_left(variant_ids, reading.variant_id)
            if index < len(variant_ids) and variant_ids[index] == reading.variant_id and unseen[index]:
                unseen[index] = False
                readings[reading.variant_id] = reading
            if len(readings) == MAX_IDS:
                yield observed_at, readings
                readings = {}
    except ShopifyRefused as error:
        is_usual = isinstance(error, BulkOperationFailed | ShopClosed)
        level = logging.WARNING if is_usual else logging.ERROR  # bulk access has lapsed
        _log.log(level, "%s; the variants are read by id instead", error)
    yield observed_at, readings
    async for batch in _read_by_id(resources, shop, array("q", compress(variant_ids, unseen))):
        yield batch


async def _write(
    resources: Resources, shop_id: int, registry_ids: Sequence[int], observations: Sequence[Observation]
) -> list[ItemChange]:
    """Write what the readings change in these registries; the items written."""
    async with registry_write(resources, Actor(shop_id, _ACTOR), registry_ids, on_cache_down="refuse") as write:
        await inventory_levels.forget_wrong(write.session, shop_id, observations)
        written = await item_readings.apply_observations(write.session, shop_id, registry_ids, observations)
        for registry_id in {each.registry_id for each in written if each.is_visible}:
            write.changed(registry_id)
    return written


def _add_examples(change: ItemChange, changes: Changes) -> None:
    """Add the change to the examples: stock that ran out or came back, another price."""
    name = f"{change.product_title}, {change.variant_title}".removesuffix(", ")
    if change.available != change.was_available:
        changes.add_example("available again" if change.available else "no longer available", name)
    if (change.price, change.currency) != (change.old_price, change.old_currency):
        old, new = format_money(change.old_price, change.old_currency), format_money(change.price, change.currency)
        was_in = "" if change.currency == change.old_currency else f" {change.old_currency}"
        changes.add_example("other price", f"{name} ({old}{was_in} → {new} {change.currency})")


def _stock_counts(readings: Readings, low_stock_threshold: int) -> dict[str, int]:
    present = [reading for reading in readings.values() if reading is not None]
    levels = Counter(stock_level(each.inventory_quantity, each.tracked, low_stock_threshold) for each in present)
    return {
        "low_stock": levels[StockLevel.LOW],
        "out_of_stock": levels[StockLevel.OUT],
        "deleted": len(readings) - len(present),
    }
