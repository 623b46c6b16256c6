"""Brings the items of a shop's registries in step with what Shopify says of their variants."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from wishcraft.cache.keys import WRITE_LIMIT_SECONDS
from wishcraft.domain.batches import batches
from wishcraft.domain.inventory import StockLevel, VariantReading, prefers_bulk, stock_level
from wishcraft.resources import Resources
from wishcraft.services.progress import Checkpoint, no_checkpoint
from wishcraft.services.warming import refresh
from wishcraft.shopify.variants import MOST_IDS, POINTS_PER_VARIANT, bulk_read_variants, read_variants
from wishcraft.store import items, registries
from wishcraft.store.items import Readings
from wishcraft.store.shops import ShopRef

LOWEST_RESTORE_RATE: Final = 100
"""Points per second of the smallest plan, taken until Shopify has said more: https://shopify.dev/docs/api/usage/limits."""
REGISTRIES_PER_WRITE: Final = 200
"""Keeps a write far below its time limit and its row locks short."""


async def sync_shop(
    resources: Resources, shop: ShopRef, *, dry_run: bool = False, checkpoint: Checkpoint = no_checkpoint
) -> dict[str, int]:
    """Read every variant that the shop's active registries wish for, and write what changed.

    A second run right after writes nothing. With `dry_run` nothing is written at all.

    Returns:
        Counts: `variants` read, of them `low_stock`, `out_of_stock` and `deleted`; `items_changed`, and the
        `registries_touched` by that (with `dry_run`: that would be touched).

    Raises:
        ShopifyUnavailable, ShopifyThrottled, ShopifyRefused: Shopify gave no usable answer; earlier batches stand.
        CacheUnavailable: Redis is away; nothing is written that Redis was not told of.
        RunStopped: The checkpoint said so; earlier batches stand.
    """
    counts = Counter(variants=0, low_stock=0, out_of_stock=0, deleted=0, items_changed=0, registries_touched=0)
    async with resources.db.snapshot() as session:
        variants = await items.count_variants(session, shop.id)
    async for observed_at, readings in _read(resources, shop, variants):
        await checkpoint(counts["variants"], variants)
        counts.update(variants=len(readings))
        counts.update(_stock_counts(readings, shop.settings.low_stock_threshold))
        async with resources.db.snapshot() as session:
            changed = await items.find_changed_registries(session, shop.id, readings, observed_at)
        for batch in batches(changed, REGISTRIES_PER_WRITE):
            if dry_run:
                counts.update(registries_touched=len(batch))
            else:
                counts.update(await _write(resources, shop.id, list(batch), readings, observed_at))
    return dict(counts)


async def _read(resources: Resources, shop: ShopRef, variants: int) -> AsyncIterator[tuple[datetime, Readings]]:
    """What Shopify says of the wished variants, in batches, each with the moment before which it was surely true."""
    throttle = resources.shopify.throttle_status(shop.domain)
    in_bulk = prefers_bulk(variants * POINTS_PER_VARIANT, throttle.restore_rate if throttle else LOWEST_RESTORE_RATE)
    async for batch in _read_in_bulk(resources, shop) if in_bulk else _read_by_id(resources, shop):
        yield batch


async def _read_by_id(resources: Resources, shop: ShopRef) -> AsyncIterator[tuple[datetime, Readings]]:
    async for ids in items.each_variant_batch(resources.db, shop.id, MOST_IDS):
        observed_at = datetime.now(UTC)
        yield observed_at, await read_variants(resources.shopify, shop.domain, ids)


async def _read_in_bulk(resources: Resources, shop: ShopRef) -> AsyncIterator[tuple[datetime, Readings]]:
    """Reads the shop's whole catalogue, keeps what is wished for, and takes what is not in it as deleted."""
    observed_at = datetime.now(UTC)
    unseen: set[int] = set()
    async for ids in items.each_variant_batch(resources.db, shop.id, MOST_IDS):
        unseen.update(ids)
    readings: dict[int, VariantReading | None] = {}
    async for reading in bulk_read_variants(resources.shopify, shop.domain):
        if reading.variant_id in unseen:
            unseen.discard(reading.variant_id)
            readings[reading.variant_id] = reading
        if len(readings) == MOST_IDS:
            yield observed_at, readings
            readings = {}
    yield observed_at, readings
    for deleted in batches(sorted(unseen), MOST_IDS):
        yield observed_at, dict.fromkeys(deleted)


async def _write(
    resources: Resources, shop_id: int, registry_ids: list[int], readings: Readings, observed_at: datetime
) -> dict[str, int]:
    """One transaction over these registries: items, versions, marks; then the cache is filled anew."""
    async with resources.db.begin() as session:
        await registries.lock(session, shop_id, registry_ids)
        written = await items.apply_readings(session, shop_id, registry_ids, readings, observed_at)
        versions = await registries.bump_versions(session, shop_id, sorted(set(written)), WRITE_LIMIT_SECONDS)
        await resources.cache.mark(shop_id, versions)
    await refresh(resources, shop_id, list(versions))
    return {"items_changed": len(written), "registries_touched": len(versions)}


def _stock_counts(readings: Readings, low_stock_threshold: int) -> dict[str, int]:
    present = [reading for reading in readings.values() if reading is not None]
    levels = Counter(stock_level(each.inventory_quantity, each.tracked, low_stock_threshold) for each in present)
    return {
        "low_stock": levels[StockLevel.LOW],
        "out_of_stock": levels[StockLevel.OUT],
        "deleted": len(readings) - len(present),
    }
